"""The inverted lists of an index as every shard of it knows them: how deep to search under a filter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

_SAMPLED_ROWS = 16
"""Rows of each list by which a filter's share of it is estimated. Where a tenth of the rows is allowed, some 20 lists
are searched and 30 of their sampled rows pass: off by a sixth, which the measured row counts include."""

_STRIDES = (64, 512)
"""How many of the nearest lists are looked at first, and next; after those, all."""

_DEFAULT_COSTS_NS = {"code": 6.0, "listed": 12.0, "exact": 90.0}
"""Measured at a million items of 128 dimensions; an index that was measured where it was built has its own."""

_DEFAULT_ROW_COUNT_FACTOR = 6
"""How many rows are looked at for each one wanted, where nothing was measured."""


class CoarseLists:
    """Where rows lie, and what that says about searching under a selector; the same in every shard.

    Args:
        centroids: float32[L, D], the lists' centres.
        row_lists: uint16 or uint32[N], each row's list.
        entry: What was measured.
    """

    def __init__(self, centroids: NDArray[np.float32], row_lists: NDArray[np.integer], entry: IndexEntry) -> None:
        self.centroids = centroids
        self._row_lists = row_lists
        self._measured_at = entry.recall_at or 1
        self._costs = {**_DEFAULT_COSTS_NS, **entry.costs_ns}
        sizes = np.bincount(row_lists, minlength=len(centroids))
        self._sample = _sampled(row_lists, sizes)
        self._weights = sizes / _SAMPLED_ROWS
        self._mean_size = len(row_lists) / len(centroids)
        measured = sorted(entry.filtered_row_counts)
        self._selectivities = np.log([selectivity for selectivity, _ in measured])
        self._row_counts = [count for _, count in measured]

    @property
    def list_count(self) -> int:
        """L."""
        return len(self.centroids)

    def row_count(self, count: int, selectivity: float) -> int:
        """How many of the rows that a selector leaves are looked at to find ``count`` with the measured recall."""
        if not self._row_counts:
            return _DEFAULT_ROW_COUNT_FACTOR * count
        measured = float(np.interp(np.log(selectivity), self._selectivities, self._row_counts))
        return max(count, round(measured * max(1.0, count / self._measured_at)))

    def probing_is_cheaper(self, row_count: int, selector: RowSet) -> bool:
        """Whether probing lists for the selector's rows costs less than ranking those rows by their lists."""
        item_count, allowed_count = selector.item_count, len(selector)
        probing = row_count / allowed_count * item_count * self._costs["code"]
        listing = allowed_count * self._costs["listed"] + row_count * self._costs["exact"]
        return probing < listing

    def probe_count(self, vector: NDArray[np.float32], row_count: int, selector: RowSet) -> int | None:
        """How many of the nearest lists hold ``row_count`` rows of the selector, by a sample; None when all may not."""
        nearness = self.centroids @ vector
        for looked_at in (*_STRIDES, self.list_count):
            if looked_at >= self.list_count:
                order = np.argsort(-nearness)
            else:
                nearest = np.argpartition(nearness, self.list_count - looked_at)[self.list_count - looked_at :]
                order = nearest[np.argsort(-nearness[nearest])]
            hits = selector.has(self._sample[order].ravel()).reshape(len(order), _SAMPLED_ROWS).sum(axis=1)
            reached = np.cumsum(hits * self._weights[order])
            if reached[-1] >= row_count:
                return int(np.searchsorted(reached, row_count)) + 1
            if looked_at >= self.list_count:
                break
        return None

    def nearest_listed(
        self, vector: NDArray[np.float32], row_count: int, rows: NDArray[np.uint32]
    ) -> NDArray[np.uint32]:
        """Those of ``rows`` that lie in the nearest lists, at least ``row_count`` of them when there are so many."""
        if len(rows) <= row_count:
            return rows
        nearness = (self.centroids @ vector)[self._row_lists[rows]]
        least = np.partition(nearness, len(rows) - row_count)[len(rows) - row_count]
        # Whole lists, so that the choice hangs on nothing but the lists' order.
        near: NDArray[np.uint32] = rows[nearness >= least]
        return near


def _sampled(row_lists: NDArray[np.integer], sizes: NDArray[np.int64]) -> NDArray[np.uint32]:
    """uint32[L, 16], rows of each list, evenly spread over it, the same in every process; a small one's repeatedly.

    An empty list is given the first row, which counts for nothing.
    """
    by_list = np.argsort(row_lists, kind="stable").astype(np.uint32)
    starts = np.cumsum(sizes) - sizes
    places = (2 * np.arange(_SAMPLED_ROWS) + 1) * sizes[:, np.newaxis] // (2 * _SAMPLED_ROWS)
    return by_list[np.minimum(starts[:, np.newaxis] + places, len(by_list) - 1)]
