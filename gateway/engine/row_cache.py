"""Ids to rows, with the hot ones remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twostage.bundle.id_table import IdTable

CACHED_COUNT = 65_536
"""How many ids are remembered: all of a small catalogue, the much-used ones of a large one; about 10 MB when full."""


class RowCache:
    """Looks ids up in a generation's table and remembers those it found.

    The table's look-up is vectorised and has a fixed cost that a few dozen ids do not repay; most of them belong to
    popular items, which everybody's history is full of. Unknown ids are not remembered: anybody can send any number.

    Args:
        ids: The generation's ids.
        limit: How many ids are remembered; the first ones stay.
    """

    def __init__(self, ids: IdTable, limit: int = CACHED_COUNT) -> None:
        self._ids = ids
        self._limit = limit
        self._known: dict[str, int] = {}

    def rows(self, item_ids: Sequence[str]) -> list[int]:
        """The rows of ids in their order, -1 where an id is unknown."""
        known = self._known
        rows: list[Any] = list(map(known.get, item_ids))
        if None in rows:
            missing = [position for position, row in enumerate(rows) if row is None]
            found = self._ids.rows([item_ids[position] for position in missing]).tolist()
            for position, row in zip(missing, found, strict=True):
                rows[position] = row
                if row >= 0 and len(known) < self._limit:
                    known[item_ids[position]] = row
        return rows
