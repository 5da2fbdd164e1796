"""The inverted lists of an index as every shard of it knows them: how deep to search under a selector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet, few_rows

_SAMPLE_COUNT = 24_576
_SAMPLED_ROWS = (2, 16)
"""Rows by which a selector's share of the lists is estimated: about so many in all, so many at least and at most of
each list. The estimate is summed over lists, so that few of each will do."""

_BINS = 256
"""Inner products from -1 to 1 in steps of 1/128; about what a tenth of a list's spread is."""

_DEFAULT_COSTS_NS = {"code": 8.0, "listed": 12.0, "exact": 30.0}
"""Measured at a million items of 128 dimensions; an index that was measured where it was built has its own."""

_EXTRACTION_NS = 1.0
"""For each item of the catalogue, where a selector's rows must first be found in its bitmap."""

_DEFAULT_SPREAD = 0.1
_DEFAULT_COVERAGE = 0.98

_LEAST_ROWS = 1.5
"""Rows that are looked at for each one wanted, at least."""


class Way(Enum):
    """How the rows that a selector leaves are searched."""

    PROBE = "probe"
    """The nearest lists are searched with the selector inside."""
    LIST = "list"
    """Those of the selector's rows that lie in the nearest lists are scanned exactly."""
    SCAN = "scan"
    """All of the selector's rows are scanned exactly."""


@dataclass(frozen=True)
class Reach:
    """How far a search goes under a selector.

    Args:
        way: How it is done.
        list_count: How many of the nearest lists are looked at.
        near: bool[L], which those are.
    """

    way: Way
    list_count: int
    near: NDArray[np.bool_]


class CoarseLists:
    """Where rows lie, and what that says about searching under a selector; the same in every shard.

    How deep a search must go is reckoned, not guessed. A row's inner product with a vector is its list's centre's plus
    a rest that is normally distributed with the index's spread. So each list is expected to bring as many of the wanted
    rows as it has allowed ones above a threshold, which is chosen so that all lists together bring what is wanted; the
    nearest lists are looked at that bring the coverage's part of it. A selector that leaves nothing near the vector
    makes that many lists, one that leaves rows anywhere makes it few.

    Args:
        centroids: float32[L, D], the lists' centres.
        row_lists: uint16 or uint32[N], each row's list.
        entry: What was measured.
    """

    def __init__(self, centroids: NDArray[np.float32], row_lists: NDArray[np.integer], entry: IndexEntry) -> None:
        self.centroids = centroids
        self._row_lists = row_lists
        self._costs = {**_DEFAULT_COSTS_NS, **entry.costs_ns}
        self._coverage = entry.coverage or _DEFAULT_COVERAGE
        self._spread = entry.spread or _DEFAULT_SPREAD
        self._sizes = np.bincount(row_lists, minlength=len(centroids))
        self._sampled_count = int(np.clip(_SAMPLE_COUNT // len(centroids), *_SAMPLED_ROWS))
        self._weights = self._sizes / self._sampled_count

    @property
    def list_count(self) -> int:
        """L."""
        return len(self.centroids)

    @cached_property
    def _sample(self) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        """Rows of each list, evenly spread over it, a small one's repeatedly; the same in every process.

        intp[S, L] and uint8[S, L]: where their bits lie in a bitmap, the byte and the bit in it.
        """
        count = self._sampled_count
        by_list = np.argsort(self._row_lists, kind="stable")
        starts = np.cumsum(self._sizes) - self._sizes
        places = (2 * np.arange(count)[:, np.newaxis] + 1) * self._sizes // (2 * count)
        # An empty list is given another's row, which counts for nothing.
        rows = by_list[np.minimum(starts + places, len(by_list) - 1)]
        return rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8)

    @cached_property
    def _shares(self) -> NDArray[np.float32]:
        """float32[T, B], the part of a list's rows above threshold t when its centre's inner product lies in bin b."""
        middles = np.linspace(-1.0, 1.0, _BINS)
        distances = (middles[:, np.newaxis] - middles) / (self._spread * math.sqrt(2.0))
        erfc = np.frompyfunc(math.erfc, 1, 1)
        shares: NDArray[np.float32] = np.asarray(0.5 * erfc(distances), np.float32)
        return shares

    def prepare(self) -> None:
        """Makes what the first search under a selector would otherwise wait for."""
        _ = self._sample, self._shares

    def reach(self, vector: NDArray[np.float32], count: int, selector: RowSet) -> Reach:
        """How far a search for ``count`` rows of a selector goes, and how.

        Args:
            vector: float32[D].
            count: How many rows are wanted, 1 or more.
            selector: Which rows may be found, at least one.
        """
        allowed_count = len(selector)
        everything = Reach(Way.SCAN, self.list_count, np.ones(self.list_count, np.bool_))
        if allowed_count <= _LEAST_ROWS * count:
            return everything
        nearness = self.centroids @ (vector / max(float(np.linalg.norm(vector)), 1e-9))
        bins = np.clip(nearness * (_BINS / 2) + _BINS / 2, 0, _BINS - 1).astype(np.intp)
        by_bin = np.bincount(bins, weights=self._allowed_by_list(selector), minlength=_BINS)
        above = self._shares @ by_bin.astype(np.float32)
        threshold = max(0, int(np.count_nonzero(above >= count)) - 1)
        # From the nearest bin on: what is expected to be found there, and what is looked at for it.
        brought = np.cumsum((by_bin * self._shares[threshold])[::-1])
        looked_at = np.cumsum(by_bin[::-1])
        enough = (brought >= self._coverage * brought[-1]) & (looked_at >= _LEAST_ROWS * count)
        depth = int(np.argmax(enough))
        if not enough[depth]:
            return everything
        near = bins >= _BINS - 1 - depth
        return Reach(self._cheapest(near, float(looked_at[depth]), selector), int(np.count_nonzero(near)), near)

    def listed(self, reach: Reach, rows: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Those of ``rows`` that lie in the lists that a search reaches."""
        found: NDArray[np.uint32] = rows[reach.near[self._row_lists[rows]]]
        return found

    def _allowed_by_list(self, selector: RowSet) -> NDArray[np.float64]:
        """float64[L], how many rows of each list a selector leaves, counted where they are few, else estimated."""
        if _is_small(selector):
            return np.bincount(self._row_lists[selector.rows], minlength=self.list_count).astype(np.float64)
        octets, bits = self._sample
        passing = (selector.octets.take(octets) & bits) != 0
        hits = np.add.reduce(passing.view(np.uint8), axis=0)
        estimated: NDArray[np.float64] = hits * self._weights
        return estimated

    def _cheapest(self, near: NDArray[np.bool_], row_count: float, selector: RowSet) -> Way:
        allowed_count = len(selector)
        extraction = 0.0 if _is_small(selector) else _EXTRACTION_NS * selector.item_count
        costs = {
            Way.PROBE: float(self._sizes @ near) * self._costs["code"],
            Way.LIST: extraction + allowed_count * self._costs["listed"] + row_count * self._costs["exact"],
            Way.SCAN: extraction + allowed_count * self._costs["exact"],
        }
        return min(costs, key=lambda way: costs[way])


def _is_small(selector: RowSet) -> bool:
    """Whether a selector's rows are looked at one by one.

    Told by their number, not by whether they are at hand: that hangs on what was asked of the set before, and shards
    that reckoned differently would look at other lists.
    """
    return len(selector) <= few_rows(selector.item_count)


def centroids_of(index: Any) -> NDArray[np.float32]:
    """float32[L, D], the centres of an inverted file's lists."""
    centroids: NDArray[np.float32] = index.quantizer.reconstruct_n(0, index.nlist)
    return centroids
