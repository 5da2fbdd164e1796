"""Items that stand for the catalogue's clusters, for people of whom nothing is known."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

_SAMPLES_PER_CLUSTER = 256
_ITERATION_COUNT = 20
_CHUNK = 65_536


def representative_rows(
    item_vectors: NDArray[np.float32],
    popularity: NDArray[np.floating | np.integer],
    *,
    most_count: int,
    items_per_cluster: int,
    seed: int,
) -> NDArray[np.uint32]:
    """One item of each cluster of a spherical k-means, central and popular.

    Of each cluster those items are looked at that lie no farther from its centre than the median one, and the most
    popular of them stands for it, ties by row. Neighbouring clusters are put into about as many groups as a group has
    clusters; the groups are dealt round, those with the most popular clusters first: the most popular cluster of
    each, then the second of each. So any beginning of the list is both popular and diverse.

    Args:
        item_vectors: float32[N, D], L2-normalised, N at least 1.
        popularity: float[N] or int[N], 0 or more.
        most_count: How many clusters at most.
        items_per_cluster: How many items a cluster has on average at least, so small catalogues have fewer clusters.
        seed: Seeds the sample of at most 256 items a cluster, and the first centres.

    Returns:
        uint32[R], distinct rows, R from 1 to ``most_count``; a cluster that no item is nearest to has none.
    """
    cluster_count = max(1, min(most_count, len(item_vectors) // items_per_cluster))
    centres = _centres(item_vectors, cluster_count, seed)
    nearest, similarity = _assign(item_vectors, centres)
    order = np.lexsort((np.arange(len(nearest)), nearest))
    starts = np.searchsorted(nearest[order], np.arange(cluster_count + 1))
    chosen = np.full(cluster_count, -1, np.int64)
    for cluster in range(cluster_count):
        members = order[starts[cluster] : starts[cluster + 1]]
        if len(members):
            central = members[similarity[members] >= np.median(similarity[members])]
            chosen[cluster] = central[np.argmax(popularity[central])]
    totals = np.bincount(nearest, weights=popularity, minlength=cluster_count)
    dealt = _dealt_round(centres, totals, seed)
    return chosen[dealt][chosen[dealt] >= 0].astype(np.uint32)


def _dealt_round(
    centres: NDArray[np.float32], totals: NDArray[np.floating | np.integer], seed: int
) -> NDArray[np.int64]:
    """int64[K], all clusters: the most popular of each group of neighbouring ones, then the second of each."""
    group_count = max(1, round(len(centres) ** 0.5))
    groups, _ = _assign(centres, _centres(centres, group_count, seed))
    by_popularity = np.lexsort((np.arange(len(centres)), -totals))
    places = np.empty(len(centres), np.int64)
    for group in range(group_count):
        members = by_popularity[groups[by_popularity] == group]
        places[members] = np.arange(len(members))
    # Within a round the clusters stand by popularity.
    return by_popularity[np.argsort(places[by_popularity], kind="stable")]


def _centres(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """float32[count, D], centres of unit length."""
    if count >= len(vectors):
        return vectors[:count]
    rng = np.random.default_rng(seed)
    most = count * _SAMPLES_PER_CLUSTER
    if len(vectors) > most:
        vectors = vectors[np.sort(rng.choice(len(vectors), most, replace=False))]
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=_ITERATION_COUNT,
        spherical=True,
        seed=seed,
        # A small catalogue may well have fewer items a cluster than the 39 below which faiss warns.
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLES_PER_CLUSTER,
    )
    kmeans.train(np.ascontiguousarray(vectors, np.float32))
    return np.asarray(kmeans.centroids, np.float32)


def _assign(
    vectors: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each vector's most similar centre, int64[N], ties by the centre, and the inner product with it, float32[N]."""
    nearest = np.empty(len(vectors), np.int64)
    similarity = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _CHUNK):
        products = vectors[start : start + _CHUNK] @ centres.T
        nearest[start : start + _CHUNK] = products.argmax(axis=1)
        similarity[start : start + _CHUNK] = products.max(axis=1)
    return nearest, similarity
