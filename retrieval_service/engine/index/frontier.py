"""Recall against time, over families and search parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.construction import Progress
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.families import IndexSpec
from retrieval_service.engine.index.measurement import median_ms, recalls, searchable
from twostage.bundle.manifest import FrontierEntry, IndexEntry

_PROBES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
_EFFORTS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_ENOUGH = 0.9995
_GAIN = 0.0005
"""Deeper searches that find no more than this are not tried further."""

_TIMED_SEARCHES = 60
_CLOSE = 1.3
_LONG_TIMED_SEARCHES = 300
_LEAST_ROWS = 1.5
"""Rows in the probed lists for each one asked for, at least."""


@dataclass(frozen=True)
class Point:
    """One way of searching and what was measured.

    Args:
        spec: The index.
        entry: How it is searched.
        recall: Mean over the queries.
        standard_error: Of that mean.
        median_ms: Of single searches on one thread.
    """

    spec: IndexSpec
    entry: IndexEntry
    recall: float
    standard_error: float
    median_ms: float

    def frontier_entry(self, *, is_chosen: bool) -> FrontierEntry:
        """The point as the manifest keeps it."""
        return FrontierEntry(
            family=self.entry.family,
            factory=self.entry.factory,
            probe_count=self.entry.probe_count,
            pool_factor=self.entry.pool_factor,
            ef_search=self.entry.ef_search,
            recall=round(self.recall, 5),
            median_ms=self.median_ms,
            bytes_per_item=self.spec.code_bytes,
            chosen=is_chosen,
        )


def measure_frontier(
    specs: Sequence[IndexSpec],
    built: Mapping[str, Sequence[Any]],
    vectors: NDArray[np.float32],
    row_lists: NDArray[np.integer] | None,
    queries: NDArray[np.float32],
    nearest: NDArray[np.int64],
    progress: Progress,
    recall_target: float,
) -> list[Point]:
    """Searches every index at growing depths until deeper finds no more, then times all that was tried, in turns.

    Args:
        specs: The indexes.
        built: Their shards, by factory.
        vectors: float32[N, D].
        row_lists: Each row's inverted list; None without.
        queries: float32[Q, D], user vectors.
        nearest: int64[Q, at], their exact nearest rows.
        progress: Told of every index.
        recall_target: Those that reach it and are nearly the fastest are timed once more, longer.
    """
    tried: list[tuple[IndexSpec, IndexEntry, FaissIndex, NDArray[np.float64]]] = []
    for number, spec in enumerate(specs):
        parts = built[spec.factory]
        lists = row_lists if spec.has_lists else None
        for ladder in _ladders(spec, parts, nearest.shape[1]):
            best = 0.0
            for entry in ladder:
                index = searchable(parts, entry, vectors, lists)
                found = recalls(index, queries, nearest)
                tried.append((spec, entry, index, found))
                if found.mean() >= _ENOUGH or (best and found.mean() - best < _GAIN):
                    break
                best = float(found.mean())
        progress("measuring", (number + 1) / (len(specs) + 1))
    at = nearest.shape[1]
    times = median_ms([index for _, _, index, _ in tried], queries, at, _TIMED_SEARCHES)
    progress("measuring", 1.0)
    points = [
        Point(spec, entry, float(found.mean()), float(found.std() / len(found) ** 0.5), time)
        for (spec, entry, _, found), time in zip(tried, times, strict=True)
    ]
    return _timed_again(points, [index for _, _, index, _ in tried], queries, at, recall_target)


def _timed_again(
    points: Sequence[Point], indexes: Sequence[FaissIndex], queries: NDArray[np.float32], at: int, recall_target: float
) -> list[Point]:
    """The points with those timed again among which the choice lies: short trials tell neighbours apart badly."""
    fastest = choose(points, recall_target).median_ms
    close = [
        number
        for number, point in enumerate(points)
        if point.recall >= recall_target and point.median_ms <= _CLOSE * fastest
    ]
    times = median_ms([indexes[number] for number in close], queries, at, _LONG_TIMED_SEARCHES) if close else []
    renewed = dict(zip(close, times, strict=True))
    return [replace(point, median_ms=renewed.get(number, point.median_ms)) for number, point in enumerate(points)]


def choose(points: Sequence[Point], recall_target: float) -> Point:
    """The fastest that reaches the recall with a standard error to spare; the best of them when none does."""
    reaching = [point for point in points if point.recall - point.standard_error >= recall_target]
    if not reaching:
        reaching = [point for point in points if point.recall >= recall_target]
    if not reaching:
        return max(points, key=lambda point: point.recall)
    return min(reaching, key=lambda point: point.median_ms)


def _ladders(spec: IndexSpec, parts: Sequence[Any], at: int) -> Iterator[list[IndexEntry]]:
    """Ways of searching an index, each list from shallow to deep."""
    if spec.family == "exact":
        yield [IndexEntry(family="exact", factory=spec.factory, file="", recall_at=at)]
        return
    if spec.family == "hnsw":
        yield [
            IndexEntry(family="hnsw", factory=spec.factory, file="", ef_search=round(effort * at), recall_at=at)
            for effort in _EFFORTS
        ]
        return
    lists = int(parts[0].nlist)
    item_count = sum(int(part.ntotal) for part in parts)
    # Fewer lists than hold the rows asked for end in a scan of everything.
    least = min(lists, math.ceil(_LEAST_ROWS * at * lists / item_count))
    probes = sorted({max(least, min(count, lists)) for count in _PROBES})
    for pool_factor in spec.pool_factors:
        yield [
            IndexEntry(
                family=spec.family,
                factory=f"IVF{lists},{spec.factory}",
                file="",
                probe_count=count,
                pool_factor=pool_factor,
                recall_at=at,
            )
            for count in probes
        ]
