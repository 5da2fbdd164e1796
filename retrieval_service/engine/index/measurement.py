"""What an index finds and how long it takes, measured through the very code that serves."""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.coarse_lists import CoarseLists, centroids_of
from retrieval_service.engine.index.exact_scan import exact_scan, inner_products
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.faiss_part import FaissPart
from retrieval_service.engine.index.shard_rows import shard_rows
from twostage.bundle.manifest import FilteredEntry, IndexEntry
from twostage.bundle.row_set import RowSet

_COVERAGES = (0.95, 0.97, 0.98, 0.99, 0.995, 0.998)
_RANDOM_SHARES = (0.5, 0.1, 0.01)
_GROUP_COUNT = 16
_FILTERED_QUERIES = 24
_FILTERED_QUERIES_OF_MANY = 8
_MANY = 2_000_000
_SPREAD_ROWS = 4_096
_COST_REPEATS = 15


def nearest_rows(vectors: NDArray[np.float32], queries: NDArray[np.float32], at: int) -> NDArray[np.int64]:
    """int64[Q, at], the exact nearest rows of each query; reads the mapped vectors in blocks."""
    block = 1_048_576
    best: Any = None
    for start in range(0, len(vectors), block):
        chunk = np.ascontiguousarray(vectors[start : start + block])
        keys, rows = faiss.knn(queries, chunk, min(at, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT)
        rows = rows + start
        if best is not None:
            keys, rows = np.concatenate([best[0], keys], 1), np.concatenate([best[1], rows], 1)
            order = np.argsort(-keys, axis=1, kind="stable")[:, :at]
            keys, rows = np.take_along_axis(keys, order, 1), np.take_along_axis(rows, order, 1)
        best = keys, rows
    found: NDArray[np.int64] = best[1]
    return found


def searchable(
    parts: Sequence[Any], entry: IndexEntry, vectors: NDArray[np.float32], row_lists: NDArray[np.integer] | None
) -> FaissIndex:
    """An index in memory as serving searches it.

    Args:
        parts: FAISS indexes, one for each shard.
        entry: How they are searched.
        vectors: float32[N, D], of all items.
        row_lists: Each row's inverted list; None for families without lists.
    """
    lists = None
    if row_lists is not None:
        lists = CoarseLists(centroids_of(parts[0]), row_lists, entry)
    shards = [
        FaissPart(part, entry, vectors, shard_rows(number, len(parts), len(vectors)), lists)
        for number, part in enumerate(parts)
    ]
    return FaissIndex(shards, len(vectors))


def recalls(
    index: FaissIndex, queries: NDArray[np.float32], nearest: NDArray[np.int64], selector: RowSet | None = None
) -> NDArray[np.float64]:
    """float64[Q], the share of each query's nearest rows that the index finds."""
    at = nearest.shape[1]
    return np.array(
        [
            np.isin(wanted, index.search(query, at, selector)[0]).mean()
            for query, wanted in zip(queries, nearest, strict=True)
        ]
    )


def median_ms(indexes: Sequence[FaissIndex], queries: NDArray[np.float32], at: int, repeats: int) -> list[float]:
    """Medians of single searches on one thread; the indexes take turns, so that none has the better minutes."""
    seconds = np.empty((repeats, len(indexes)))
    for repeat in range(repeats):
        for number, index in enumerate(indexes):
            # The search before brings this index's code and data into the caches, as steady traffic does.
            index.search(queries[(repeat + len(queries) // 2) % len(queries)], at, None)
            started = time.perf_counter()
            index.search(queries[repeat % len(queries)], at, None)
            seconds[repeat, number] = time.perf_counter() - started
    return [round(float(median) * 1e3, 4) for median in np.median(seconds, axis=0)]


def measure_spread(
    vectors: NDArray[np.float32],
    centroids: NDArray[np.float32],
    row_lists: NDArray[np.integer],
    queries: NDArray[np.float32],
) -> float:
    """Standard deviation of a row's inner product with a user vector around that of its list's centre."""
    rows = np.linspace(0, len(vectors) - 1, min(len(vectors), _SPREAD_ROWS)).astype(np.int64)
    rests = np.asarray(vectors[rows]) - centroids[row_lists[rows]]
    return round(float((queries @ rests.T).std()), 5)


def measure_costs(
    parts: Sequence[Any],
    entry: IndexEntry,
    vectors: NDArray[np.float32],
    row_lists: NDArray[np.integer],
    queries: NDArray[np.float32],
) -> dict[str, float]:
    """Nanoseconds for each row: in a probed list, of a filter's rows ranked by list, of exact inner products."""
    probes = entry.probe_count or 1
    deep = entry.model_copy(update={"probe_count": min(8 * probes, parts[0].nlist)})
    at = entry.recall_at or 1
    shallow_ms, deep_ms = median_ms(
        [searchable(parts, one, vectors, row_lists) for one in (entry, deep)], queries, at, _COST_REPEATS
    )
    more_rows = max(1.0, ((deep.probe_count or 1) - probes) * len(vectors) / parts[0].nlist)
    rows = np.sort(np.random.default_rng(0).choice(len(vectors), min(len(vectors), 20_000), replace=False))
    some = rows.astype(np.uint32)
    few = some[:: max(1, len(some) // 2_000)]
    near = np.random.default_rng(0).random(parts[0].nlist) < 0.2
    return {
        "code": round(max(0.5, (deep_ms - shallow_ms) * 1e6 / more_rows), 3),
        "listed": round(max(0.5, _least_ns(lambda _: some[near[row_lists[some]]], queries) / len(some)), 3),
        "exact": round(max(1.0, _least_ns(lambda query: inner_products(vectors, few, query), queries) / len(few)), 3),
    }


def _least_ns(work: Any, queries: NDArray[np.float32]) -> float:
    nanoseconds = []
    for number in range(_COST_REPEATS):
        started = time.perf_counter_ns()
        work(queries[number % len(queries)])
        nanoseconds.append(time.perf_counter_ns() - started)
    # The least, for what else the machine does only adds.
    return float(np.min(nanoseconds))


@dataclass(frozen=True)
class _Trial:
    """A selector for each query, and the exact nearest rows that it leaves."""

    kind: str
    selectors: Sequence[RowSet]
    nearest: Sequence[NDArray[np.uint32]]


def measure_filtered(
    parts: Sequence[Any],
    entry: IndexEntry,
    vectors: NDArray[np.float32],
    row_lists: NDArray[np.integer],
    queries: NDArray[np.float32],
    *,
    recall_target: float,
    seed: int,
) -> tuple[float, list[FilteredEntry]]:
    """The least coverage that reaches a recall under every kind of filter, and what was measured with it.

    Random filters leave rows anywhere. Filters on content leave what lies together: the catalogue's lists are clustered
    into groups, and a query may have all but its own group, half of the groups without its own, or one other group.

    Args:
        parts: The index's shards.
        entry: How it is searched; its spread and costs are measured already.
        vectors: float32[N, D].
        row_lists: Each row's inverted list.
        queries: float32[Q, D], user vectors.
        recall_target: What must be reached on average by every kind; the deepest is taken when none does.
        seed: Seed of the filters.
    """
    at = entry.recall_at or 1
    some = queries[: _FILTERED_QUERIES if len(vectors) <= _MANY else _FILTERED_QUERIES_OF_MANY]
    trials = _trials(parts[0], vectors, row_lists, some, at, seed)
    for coverage in _COVERAGES:
        index = searchable(parts, entry.model_copy(update={"coverage": coverage}), vectors, row_lists)
        measured = [_measured(index, trial, some, at) for trial in trials]
        if all(one.recall >= recall_target for one in measured):
            break
    return coverage, measured


def _trials(
    part: Any,
    vectors: NDArray[np.float32],
    row_lists: NDArray[np.integer],
    queries: NDArray[np.float32],
    at: int,
    seed: int,
) -> list[_Trial]:
    item_count = len(vectors)
    random = np.random.default_rng(seed)
    chosen: dict[str, list[RowSet]] = {
        f"random {share:g}": [RowSet.of_mask(random.random(item_count) < share)] * len(queries)
        for share in _RANDOM_SHARES
        if share * item_count >= 2 * at
    }
    centroids = centroids_of(part)
    group_count = min(_GROUP_COUNT, part.nlist)
    clustering = faiss.Kmeans(
        centroids.shape[1], group_count, niter=10, spherical=True, seed=seed, min_points_per_centroid=1
    )
    clustering.train(centroids)
    centres = np.asarray(clustering.centroids)
    groups = np.argmax(centroids @ centres.T, axis=1)
    by_group = [RowSet.of_mask((groups == group)[row_lists]) for group in range(group_count)]
    own = np.argmax(queries @ centres.T, axis=1)
    others = [random.permutation(np.delete(np.arange(group_count), group)) for group in own]
    everything = RowSet.all_rows(item_count)
    if group_count > 2:
        chosen["all but the own group"] = [everything - by_group[group] for group in own]
        chosen["half of the other groups"] = [
            reduce(operator.or_, (by_group[group] for group in order[: group_count // 2])) for order in others
        ]
        chosen["one other group"] = [by_group[order[0]] for order in others]
    return [
        _Trial(kind, selectors, [exact_scan(vectors, q, at, s)[0] for q, s in zip(queries, selectors, strict=True)])
        for kind, selectors in chosen.items()
    ]


def _measured(index: FaissIndex, trial: _Trial, queries: NDArray[np.float32], at: int) -> FilteredEntry:
    found, seconds = [], []
    for query, selector, nearest in zip(queries, trial.selectors, trial.nearest, strict=True):
        started = time.perf_counter()
        rows, _ = index.search(query, at, selector)
        seconds.append(time.perf_counter() - started)
        found.append(float(np.isin(nearest, rows).mean()) if len(nearest) else 1.0)
    return FilteredEntry(
        kind=trial.kind,
        selectivity=round(float(np.mean([len(one) for one in trial.selectors])) / trial.selectors[0].item_count, 5),
        recall=round(float(np.mean(found)), 5),
        median_ms=round(float(np.median(seconds)) * 1e3, 4),
    )
