"""Trains and fills FAISS indexes, shard by shard, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.families import IndexSpec
from retrieval_service.engine.index.shard_rows import shard_rows

Progress = Callable[[str, float], None]
"""Told what is being done and how much of it, from 0 to 1."""

_ITERATIONS = 8
_POINTS_PER_LIST = 48
_CODEC_SAMPLE = 131_072
_CHUNK_ROWS = 131_072
"""Rows read from the mapped vectors at once: 64 MiB at 128 dimensions."""
_GRAPH_EFFORT = 100


def silent(what: str, part: float) -> None:
    """Tells nobody."""


def train_lists(vectors: NDArray[np.float32], count: int, seed: int, progress: Progress) -> NDArray[np.float32]:
    """Centres of inverted lists, by spherical k-means on a sample.

    Args:
        vectors: float32[N, D], L2-normalised, may be mapped.
        count: How many lists.
        seed: Seed of the sample and the start.
        progress: Told once for each iteration.

    Returns:
        float32[count, D], L2-normalised.
    """
    sample = _sample(vectors, count * _POINTS_PER_LIST, seed)
    centres: NDArray[np.float32] | None = None
    for iteration in range(_ITERATIONS):
        # One iteration at a time, so that progress can be told; the centres go on where they stood.
        clustering = faiss.Kmeans(
            vectors.shape[1],
            count,
            niter=1,
            spherical=True,
            seed=seed,
            # Fewer points than the 39 a list that FAISS wants are worth a weaker clustering, not a warning.
            min_points_per_centroid=1,
            max_points_per_centroid=_POINTS_PER_LIST,
        )
        clustering.train(sample, init_centroids=centres)
        centres = clustering.centroids
        progress("clustering", (iteration + 1) / _ITERATIONS)
    assert centres is not None
    return centres


def build_parts(
    spec: IndexSpec,
    vectors: NDArray[np.float32],
    centres: NDArray[np.float32] | None,
    *,
    shard_count: int,
    seed: int,
    progress: Progress,
) -> list[Any]:
    """Builds the shards of one index: one coarse quantizer, one codec, rows as ids.

    Args:
        spec: What is built.
        vectors: float32[N, D], L2-normalised, may be mapped.
        centres: float32[L, D], of the inverted lists; None for families without.
        shard_count: How many shards.
        seed: Seed of the codec's sample.
        progress: Told of every chunk that is added.
    """
    dimension = vectors.shape[1]
    inverted = spec.has_lists
    factory = spec.factory
    if inverted:
        assert centres is not None
        factory = f"IVF{len(centres)},{spec.factory}"
    empty: Any = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    if inverted:
        # A quantizer that has its centres already is not trained again.
        faiss.downcast_index(empty.quantizer).add(centres)
    if spec.family == "ivf_pq":
        empty.pq.cp.min_points_per_centroid = 1
    if spec.family == "hnsw":
        empty.hnsw.efConstruction = _GRAPH_EFFORT
    if not empty.is_trained:
        progress(f"training {spec.factory}", 0.0)
        empty.train(_sample(vectors, _CODEC_SAMPLE, seed))
    parts = []
    for shard in range(shard_count):
        part = faiss.clone_index(empty) if shard_count > 1 else empty
        rows = shard_rows(shard, shard_count, len(vectors))
        for start in range(rows.start, rows.stop, _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, rows.stop)
            chunk = np.ascontiguousarray(vectors[start:stop], np.float32)
            _refuse_unless_finite(chunk, np.arange(start, stop))
            if inverted:
                part.add_with_ids(chunk, np.arange(start, stop))
            else:
                part.add(chunk)
            progress(f"adding to {spec.factory}", stop / len(vectors))
        parts.append(part)
    return parts


def _sample(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    rows = np.arange(len(vectors))
    if count < len(vectors):
        # In ascending order, for a mapped file is read faster so.
        rows = np.sort(np.random.default_rng(seed).choice(len(vectors), count, replace=False))
        vectors = vectors[rows]
    sample = np.ascontiguousarray(vectors, np.float32)
    _refuse_unless_finite(sample, rows)
    return sample


def _refuse_unless_finite(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
    """Names the first of the rows whose vector is not finite; FAISS would name a source file of its own."""
    if not np.isfinite(vectors).all():
        row = rows[np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]]
        raise ValueError(f"vectors: expected finite numbers, received NaN or infinity at row {row}")
