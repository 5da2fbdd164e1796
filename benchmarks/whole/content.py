"""Content encoded by processes that hold nothing else."""

from __future__ import annotations

from twostage.features.item_encoding import Columns, EncodedItems, ItemEncoder

_held: list[ItemEncoder] = []


def begin(encoder: ItemEncoder) -> None:
    """Keeps the encoder of all that this process will be given."""
    _held.append(encoder)


def encode(columns: Columns) -> EncodedItems:
    """Encodes the content of some items."""
    return _held[-1].encode(columns)
