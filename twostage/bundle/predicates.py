"""What a filter asks of one attribute, and how several of that hold at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.filter_cache import FilterCache
from twostage.bundle.filters import Filter
from twostage.bundle.number_column import NumberColumn
from twostage.bundle.row_set import RowSet, few_rows
from twostage.bundle.values_column import ValuesColumn

_LOOK_COST = 15.0
"""Looking at one item's codes costs as much as reading so many postings and setting their bits."""


class Predicate(Protocol):
    """Something that holds for some rows."""

    @property
    def most_count(self) -> int:
        """For how many rows it holds at most; known without looking at rows."""

    @property
    def cost(self) -> float:
        """What :meth:`row_set` costs, in settings of one row's bit."""

    def row_set(self) -> RowSet:
        """All rows for which it holds."""

    def holds(self, rows: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """bool[len(rows)], for which of a few rows it holds."""


class HasAny:
    """Holds for items that have at least one of some values.

    Args:
        column: The values.
        codes: int64[S], the values' codes, distinct, ascending.
    """

    def __init__(self, column: ValuesColumn, codes: NDArray[np.int64]) -> None:
        self._column = column
        self._codes = codes
        self._counts = column.postings.counts(codes)
        self.cost = column.postings.union_cost(codes)

    @property
    def most_count(self) -> int:
        """As :attr:`Predicate.most_count`: no item is counted for several of its values."""
        return int(self._counts.sum())

    @property
    def least_count(self) -> int:
        """For how many rows it holds at least."""
        return int(self._counts.max(initial=0))

    def row_set(self) -> RowSet:
        """As :meth:`Predicate.row_set`."""
        return self._column.postings.union(self._codes)

    def holds(self, rows: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """As :meth:`Predicate.holds`."""
        if self.cost <= _LOOK_COST * len(rows):
            return self.row_set().has(rows)
        return self._column.have_any(rows, self._codes)


class Kept:
    """Holds where another does whose rows are costly to find: a cache keeps them for other filters that ask it too.

    Args:
        predicate: The other.
        asked: A filter that asks just that.
        cache: Where its rows are kept.
    """

    def __init__(self, predicate: Predicate, asked: Filter, cache: FilterCache) -> None:
        self._predicate = predicate
        self._asked = asked
        self._cache = cache
        self._is_held = asked in cache

    @property
    def most_count(self) -> int:
        """As :attr:`Predicate.most_count`."""
        return self._predicate.most_count

    @property
    def cost(self) -> float:
        """As :attr:`Predicate.cost`."""
        return 0.0 if self._is_held else self._predicate.cost

    def row_set(self) -> RowSet:
        """As :meth:`Predicate.row_set`."""
        return self._cache.rows(self._asked, lambda _: self._predicate.row_set())

    def holds(self, rows: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """As :meth:`Predicate.holds`."""
        return self.row_set().has(rows) if self._is_held else self._predicate.holds(rows)


class HasNone:
    """Holds for items that have none of some values, those without any value included.

    Args:
        any_of: What must not hold.
        item_count: N.
    """

    def __init__(self, any_of: HasAny, item_count: int) -> None:
        self._any_of = any_of
        self.cost = any_of.cost
        self._item_count = item_count

    @property
    def most_count(self) -> int:
        """As :attr:`Predicate.most_count`."""
        return self._item_count - self._any_of.least_count

    def row_set(self) -> RowSet:
        """As :meth:`Predicate.row_set`."""
        return ~self._any_of.row_set()

    def holds(self, rows: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """As :meth:`Predicate.holds`."""
        return ~self._any_of.holds(rows)


class InRange:
    """Holds for items whose number lies between two bounds, both included; never for those without a number.

    Args:
        column: The numbers.
        low: The lower bound, may be -inf.
        high: The upper bound, may be inf, not below ``low``.
    """

    def __init__(self, column: NumberColumn, low: float, high: float) -> None:
        self._column = column
        self._low = low
        self._high = high
        self._start, self._end = column.order.stretch(low, high)
        self.cost = column.order.cost(self._start, self._end)

    @property
    def most_count(self) -> int:
        """As :attr:`Predicate.most_count`; exact."""
        return self._end - self._start

    def row_set(self) -> RowSet:
        """As :meth:`Predicate.row_set`."""
        return self._column.order.rows(self._start, self._end)

    def holds(self, rows: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """As :meth:`Predicate.holds`."""
        numbers = self._column.numbers[rows.astype(np.intp)]
        # Comparisons with NaN are false.
        within: NDArray[np.bool_] = (numbers >= self._low) & (numbers <= self._high)
        return within


def rows_of_all(predicates: Sequence[Predicate], item_count: int) -> RowSet:
    """The rows for which all predicates hold.

    One that leaves few rows goes first, and the others are asked about those rows alone. Otherwise bitmaps meet, the
    costly ones last, because few rows may be left before they are needed.

    Args:
        predicates: None of them lets every row pass.
        item_count: N.
    """
    if not predicates:
        return RowSet.all_rows(item_count)
    few = few_rows(item_count)

    def place(predicate: Predicate) -> tuple[bool, float]:
        most = predicate.most_count
        return (False, most) if most <= few else (True, predicate.cost)

    first, *others = sorted(predicates, key=place)
    left = first.row_set()
    for predicate in others:
        # Finding the rows of a bitmap costs less than looking at them.
        if left.has_few_rows or (predicate.cost > _LOOK_COST * len(left) and len(left) <= few):
            rows = left.rows
            left = RowSet.of_ascending(rows[predicate.holds(rows)], item_count)
        else:
            left &= predicate.row_set()
    return left
