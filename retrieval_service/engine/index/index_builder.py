"""Chooses and builds the index of a generation by measurement."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from twostage.bundle.manifest import IndexEntry

EXACT_LIMIT = 20_000
"""Up to how many items every inner product is computed. Measured for 500 of N x 128 on one core, the inverted file at
a recall of 0.95: at 20,000 items 0.28 ms against 0.19 ms, which is not worth what it misses; at 50,000, out of the
cache, 1.1 ms against 0.25 ms."""

_MAX_QUERIES = 500
_TIMED_SEARCHES = 50


def build_index(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    *,
    recall_target: float = 0.95,
    at: int = 500,
    seed: int = 0,
    file: str = "index.faiss",
    exact_limit: int = EXACT_LIMIT,
) -> tuple[Any, IndexEntry]:
    """Builds an index: exact for a small catalogue, else an inverted file that reaches a recall.

    Args:
        vectors: float32[N, D], L2-normalised.
        queries: float32[Q, D], user vectors that the recall is measured with; at most 500 are used. Item vectors
            would be easier than people are.
        recall_target: The share of the exact nearest items that must be found on average, above 0, at most 1.
        at: How many nearest items are asked for.
        seed: Seed of the clustering.
        file: The path that the entry names, relative to the generation.
        exact_limit: Up to how many items the index is exact.

    Returns:
        The index and its entry for the manifest, recall and time measured.

    Raises:
        ValueError: There are no vectors, no queries, or their dimensions differ.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors: expected float32[N, D] with N above 0, received shape {vectors.shape}")
    item_count, dimension = vectors.shape
    if queries.ndim != 2 or not len(queries) or queries.shape[1] != dimension:
        raise ValueError(f"queries: expected float32[Q, {dimension}] with Q above 0, received shape {queries.shape}")
    if not 0 < recall_target <= 1:
        raise ValueError(f"recall_target: expected above 0, at most 1, received {recall_target}")
    vectors = np.ascontiguousarray(vectors, np.float32)
    queries = np.ascontiguousarray(queries[:_MAX_QUERIES], np.float32)
    at = min(at, item_count)
    if item_count <= exact_limit:
        flat = faiss.IndexFlatIP(dimension)
        flat.add(vectors)
        median_ms = _median_ms(flat, queries, at, None)
        return flat, IndexEntry(
            family="exact", factory="Flat", file=file, recall=1.0, recall_at=at, median_ms=median_ms
        )
    list_count = round(4 * item_count**0.5)
    factory = f"IVF{list_count},SQfp16"
    index: Any = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    # Fewer points than the 39 a list that FAISS wants are worth a weaker clustering, not a warning.
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    _, nearest = faiss.knn(queries, vectors, at, metric=faiss.METRIC_INNER_PRODUCT)
    probe_count, recall = _least_probes(index, queries, nearest, recall_target)
    return index, IndexEntry(
        family="ivf",
        factory=factory,
        file=file,
        probe_count=probe_count,
        recall=recall,
        recall_at=at,
        median_ms=_median_ms(index, queries, at, _probing(probe_count)),
    )


def write_index(index: Any, path: Path) -> None:
    """Writes an index to a file that :class:`retrieval_service.engine.index.faiss_index.FaissIndex` opens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(path))


def _probing(probe_count: int) -> Any:
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = probe_count
    return parameters


def _least_probes(
    index: Any, queries: NDArray[np.float32], nearest: NDArray[np.int64], recall_target: float
) -> tuple[int, float]:
    """The fewest lists that reach the recall, by bisection, and the recall they reach."""
    least, most = 1, int(index.nlist)
    recall = _recall(index, queries, nearest, most)
    while least < most:
        middle = (least + most) // 2
        reached = _recall(index, queries, nearest, middle)
        if reached >= recall_target:
            most, recall = middle, reached
        else:
            least = middle + 1
    return most, recall


def _recall(index: Any, queries: NDArray[np.float32], nearest: NDArray[np.int64], probe_count: int) -> float:
    at = nearest.shape[1]
    _, found = index.search(queries, at, params=_probing(probe_count))
    hits = sum(len(np.intersect1d(one, other)) for one, other in zip(found, nearest, strict=True))
    return hits / nearest.size


def _median_ms(index: Any, queries: NDArray[np.float32], at: int, parameters: Any) -> float:
    """The median of single searches on one thread, as serving runs them."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        seconds = []
        for number in range(_TIMED_SEARCHES):
            query = queries[number % len(queries)][np.newaxis]
            started = time.perf_counter()
            index.search(query, at, params=parameters)
            seconds.append(time.perf_counter() - started)
    finally:
        faiss.omp_set_num_threads(threads)
    return round(1e3 * float(np.median(seconds)), 4)
