"""The rows of a number column in the order of their numbers, with bitmaps at steps along it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.row_set import RowSet, sorted_rows, word_count

_STEP_COUNT = 64
"""So many bitmaps take 8 bytes an item; what lies between two of them is corrected row by row."""
_LEAST_STEP = 256
"""Shorter steps are not worth a bitmap."""


class NumberOrder:
    """Rows by number, and for a few positions in that order a bitmap of all rows before it.

    A range of numbers is a stretch of the order. Its rows are the difference of two such bitmaps, mended at both ends
    by the rows between the nearest bitmap and the range's bound: range-encoded bitmaps with binning (O'Neil and Quass,
    "Improved query performance with variant indexes", SIGMOD 1997). A short stretch is read from the order itself.

    Args:
        order: uint32[M], rows that have a number, by number, ties by row; M <= N.
        ordered: float64[M], their numbers.
        steps: int64[S + 1], positions in the order, ascending, the first 0, the last M.
        cumulative: uint64[S + 1, ceil(N / 64)], the rows before each of them as a bitmap.
        item_count: N.
    """

    def __init__(
        self,
        order: NDArray[np.uint32],
        ordered: NDArray[np.float64],
        steps: NDArray[np.int64],
        cumulative: NDArray[np.uint64],
        item_count: int,
    ) -> None:
        self._order = order
        self._ordered = ordered
        self._steps = steps
        self._cumulative = cumulative
        self._item_count = item_count

    @classmethod
    def build(cls, numbers: NDArray[np.float64]) -> Self:
        """Orders a column.

        Args:
            numbers: float64[N], NaN where unknown.
        """
        # NaN sorts behind everything.
        order = np.argsort(numbers, kind="stable")[: len(numbers) - int(np.count_nonzero(np.isnan(numbers)))]
        known_count = len(order)
        step_count = max(1, min(_STEP_COUNT, known_count // _LEAST_STEP))
        steps = np.arange(step_count + 1, dtype=np.int64) * known_count // step_count
        cumulative = np.empty((len(steps), word_count(len(numbers))), np.uint64)
        before = np.zeros(len(numbers), np.bool_)
        start = 0
        for position, end in enumerate(steps.tolist()):
            before[order[start:end]] = True
            cumulative[position] = RowSet.of_mask(before).words
            start = end
        return cls(order.astype(np.uint32), numbers[order], steps, cumulative, len(numbers))

    @classmethod
    def open(cls, folder: Path, *, item_count: int) -> Self | None:
        """Maps what was written to ``folder``; None when the bundle is older than orders.

        Raises:
            BundleCorrupt: A file is absent while the others are there, or they do not fit together.
        """
        if not (folder / "order.npy").is_file():
            return None
        order = map_array(folder / "order.npy", shape=(None,))
        ordered = map_array(folder / "ordered.npy", shape=(len(order),))
        steps = map_array(folder / "steps.npy", shape=(None,))
        cumulative = map_array(folder / "cumulative.npy", shape=(len(steps), word_count(item_count)))
        if len(steps) < 2 or steps[0] != 0 or steps[-1] != len(order):
            raise BundleCorrupt(folder / "steps.npy", f"steps from 0 to {len(order)}", f"{steps[:1]} to {steps[-1:]}")
        if len(order) and (order.dtype != np.uint32 or order.max() >= item_count):
            raise BundleCorrupt(folder / "order.npy", f"uint32 rows below {item_count}", f"{order.dtype} {order.max()}")
        return cls(order, ordered, steps, cumulative, item_count)

    def write(self, folder: Path) -> None:
        """Writes one .npy file for each part."""
        write_array(folder / "order.npy", self._order)
        write_array(folder / "ordered.npy", self._ordered)
        write_array(folder / "steps.npy", self._steps)
        write_array(folder / "cumulative.npy", self._cumulative)

    def stretch(self, low: float, high: float) -> tuple[int, int]:
        """Where in the order the numbers from ``low`` to ``high``, both included, start and end."""
        start = int(np.searchsorted(self._ordered, low, "left"))
        return start, max(start, int(np.searchsorted(self._ordered, high, "right")))

    def rows(self, start: int, end: int) -> RowSet:
        """The rows of a stretch of the order, ``start <= end``."""
        if end - start <= sorted_rows(self._item_count):
            return RowSet.of_rows(self._order[start:end], self._item_count)
        first, last = self._nearest(start), self._nearest(end)
        first_step, last_step = int(self._steps[first]), int(self._steps[last])
        # Every bitmap contains those before it, so that the difference is what is in only one of the two.
        words = self._cumulative[first] ^ self._cumulative[last]
        between = RowSet(words, self._item_count, last_step - first_step)
        if first == last:
            return between.exchanged(self._order[start:end], self._order[:0])
        order = self._order
        added = np.concatenate([order[start:first_step], order[last_step:end]])
        removed = np.concatenate([order[first_step:start], order[end:last_step]])
        return between.exchanged(added, removed)

    def cost(self, start: int, end: int) -> float:
        """What :meth:`rows` costs, in settings of one row."""
        step = len(self._order) / (len(self._steps) - 1)
        return min(float(end - start), step / 2)

    def _nearest(self, position: int) -> int:
        """Which step is nearest."""
        following = int(np.searchsorted(self._steps, position))
        if following == 0 or self._steps[following] - position < position - self._steps[following - 1]:
            return following
        return following - 1
