"""What each service reads of a generation, so that it fetches, verifies and is sent just that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from twostage.bundle.manifest import Manifest


class Reads(NamedTuple):
    """What somebody reads of a generation.

    Args:
        prefixes: Files whose path in the generation starts with one of these.
        models: Whether its SavedModels are read too.
    """

    prefixes: tuple[str, ...]
    models: bool = False


GATEWAY_PREFIXES = ("items/",)
RETRIEVAL_PREFIXES = ("items/", "retrieval/", "golden/")


def ranking_prefixes(manifest: Manifest) -> tuple[str, ...]:
    """The ranking service's: of ``retrieval/`` the item vectors alone, by which it diversifies."""
    tables = [path for entry in manifest.rankers.values() for path in (entry.candidate_table, entry.history_table)]
    return ("items/", "ranking/", "golden/", manifest.tower.item_vectors, *(path for path in tables if path))


READS: Mapping[str, Callable[[Manifest], Reads]] = {
    "all": lambda _: Reads(("",), models=True),
    "gateway": lambda _: Reads(GATEWAY_PREFIXES),
    "retrieval": lambda _: Reads(RETRIEVAL_PREFIXES),
    "ranking": lambda manifest: Reads(ranking_prefixes(manifest), models=True),
}
"""By service; ``ranking`` with the model server beside it, ``all`` is everything."""
