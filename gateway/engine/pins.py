"""Pinned items: which rows they are, and where they stand in a list that ranking did not select."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engine.row_cache import RowCache


def pinned_rows(cache: RowCache, item_ids: Sequence[str]) -> tuple[int, ...]:
    """The distinct rows of pinned items in their order, unknown ids left out."""
    if not item_ids:
        return ()
    return tuple(dict.fromkeys(row for row in cache.rows(item_ids) if row >= 0))


def pins_first(pins: Sequence[int], rows: Sequence[int], count: int) -> list[int]:
    """Where the pinned rows stand in a list.

    Args:
        pins: Distinct rows, the first to be shown first.
        rows: The list, distinct rows.
        count: How many positions are wanted at most.

    Returns:
        Positions in ``rows``, in the order of ``pins``; none of pins that are not in the list.
    """
    wanted = frozenset(pins)
    position_of = {row: position for position, row in enumerate(rows) if row in wanted}
    return [position_of[row] for row in pins if row in position_of][:count]
