"""The sets of rows that recent filters left."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from twostage.bundle.filters import Filter
from twostage.bundle.row_set import RowSet

_CONDITION_BYTES = 300
_TEXT_BYTES = 64
"""What a condition and a string in it take in memory beside their characters, generously."""


class FilterCache:
    """Keeps what filters left, least recently used out first; safe to use from several threads at once.

    Args:
        max_bytes: How much memory sets and filters together may take; a set counts with its bitmap and its rows even
            where those are not made yet or are mapped. 0 keeps nothing.

    Attributes:
        on_lookup: Told of each look-up whether the filter was held; nobody is when None.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.on_lookup: Callable[[bool], None] | None = None
        self._held: OrderedDict[Filter, tuple[RowSet, int]] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """How much memory is accounted for."""
        return self._held_bytes

    def __len__(self) -> int:
        """How many filters are held."""
        return len(self._held)

    def __contains__(self, condition_filter: Filter) -> bool:
        """Whether a filter is held now."""
        with self._lock:
            return condition_filter in self._held

    def rows(self, condition_filter: Filter, evaluate: Callable[[Filter], RowSet]) -> RowSet:
        """What a filter leaves.

        Args:
            condition_filter: The filter.
            evaluate: Asked when the filter is not held, outside the lock: threads that meet there both evaluate.
        """
        with self._lock:
            held = self._held.get(condition_filter)
            if held is not None:
                self._held.move_to_end(condition_filter)
        if self.on_lookup is not None:
            self.on_lookup(held is not None)
        if held is not None:
            return held[0]
        row_set = evaluate(condition_filter)
        size = row_set.most_bytes + _filter_bytes(condition_filter)
        if size <= self._max_bytes:
            with self._lock:
                self._keep(condition_filter, row_set, size)
        return row_set

    def _keep(self, condition_filter: Filter, row_set: RowSet, size: int) -> None:
        replaced = self._held.pop(condition_filter, None)
        self._held_bytes += size - (replaced[1] if replaced else 0)
        self._held[condition_filter] = row_set, size
        while self._held_bytes > self._max_bytes:
            _, (_, dropped) = self._held.popitem(last=False)
            self._held_bytes -= dropped


def _filter_bytes(condition_filter: Filter) -> int:
    return sum(
        _CONDITION_BYTES
        + sum(_TEXT_BYTES + 4 * len(text) for text in (condition.attribute, *condition.any_of, *condition.none_of))
        for condition in condition_filter.conditions
    )
