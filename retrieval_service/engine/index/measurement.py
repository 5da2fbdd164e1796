"""What an index finds and how long it takes, measured through the very code that serves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.coarse_lists import CoarseLists
from retrieval_service.engine.index.exact_scan import exact_scan, inner_products
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.faiss_part import FaissPart
from retrieval_service.engine.index.shard_rows import shard_rows
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

_SELECTIVITIES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.005)
_ROWS_PER_WANTED = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0)
_FILTERED_QUERIES = 40
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
        lists = CoarseLists(parts[0].quantizer.reconstruct_n(0, parts[0].nlist), row_lists, entry)
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
    lists = CoarseLists(parts[0].quantizer.reconstruct_n(0, parts[0].nlist), row_lists, entry)
    rows = np.sort(np.random.default_rng(0).choice(len(vectors), min(len(vectors), 20_000), replace=False))
    some = rows.astype(np.uint32)
    few = some[:: max(1, len(some) // 2_000)]
    return {
        "code": round(max(0.5, (deep_ms - shallow_ms) * 1e6 / more_rows), 3),
        "listed": round(
            max(0.5, _median_ns(lambda query: lists.nearest_listed(query, len(few), some), queries) / len(some)), 3
        ),
        "exact": round(max(1.0, _median_ns(lambda query: inner_products(vectors, few, query), queries) / len(few)), 3),
    }


def _median_ns(work: Any, queries: NDArray[np.float32]) -> float:
    nanoseconds = []
    for number in range(_COST_REPEATS):
        started = time.perf_counter_ns()
        work(queries[number % len(queries)])
        nanoseconds.append(time.perf_counter_ns() - started)
    return float(np.median(nanoseconds))


def measure_filtered(
    parts: Sequence[Any],
    entry: IndexEntry,
    vectors: NDArray[np.float32],
    row_lists: NDArray[np.integer],
    queries: NDArray[np.float32],
    *,
    recall_target: float,
    seed: int,
) -> list[tuple[float, int]]:
    """How many of a filter's rows must be looked at to reach a recall, by the filter's selectivity.

    Random filters, because they are the hardest of their size for a search by lists: what a filter on content leaves
    lies together.

    Returns:
        Pairs of selectivity and number of rows, for selectivities that leave more than twice the rows asked for.
    """
    at = entry.recall_at or 1
    random = np.random.default_rng(seed)
    some = queries[:_FILTERED_QUERIES]
    measured = []
    for selectivity in _SELECTIVITIES:
        if selectivity * len(vectors) < 2 * at:
            continue
        selector = RowSet.of_mask(random.random(len(vectors)) < selectivity)
        _ = selector.rows
        nearest = np.array([exact_scan(vectors, query, at, selector)[0] for query in some], np.int64)
        for factor in _ROWS_PER_WANTED:
            row_count = round(factor * at)
            trial = entry.model_copy(update={"filtered_row_counts": [(selectivity, row_count)]})
            found = recalls(searchable(parts, trial, vectors, row_lists), some, nearest, selector)
            if found.mean() - found.std() / len(found) ** 0.5 >= recall_target:
                break
        measured.append((selectivity, row_count))
    return measured
