"""Item vectors from who did what, by a truncated singular value decomposition."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.data.dataset import Interactions

_OVERSAMPLING = 16
_POWER_ITERATIONS = 3


def spectral_vectors(
    interactions: Interactions, item_count: int, size: int, seed: int, sharpness: float = 0.25
) -> NDArray[np.float32]:
    """Places items so that those which the same people choose lie close together.

    The matrix of people and items is divided by the square roots of both sides' counts and decomposed; an item's
    vector is its row of the right singular vectors, scaled by the singular values to the power ``2 sharpness`` and
    then to unit length. The scaling by counts is that of Y. Shen et al., *How Powerful is Graph Convolution for
    Recommendation?*, 2021; the decomposition is the randomised one of N. Halko et al., *Finding Structure with
    Randomness*, 2011, and takes a few sparse products.

    Args:
        interactions: What people did; repeats count once.
        item_count: The catalogue's size N.
        size: The vectors' size.
        seed: Seeds the random projection.
        sharpness: 0 trusts all directions alike, 0.5 trusts those that explain much the more.

    Returns:
        float32[N, size], rows of unit length, zeros for an item that nobody chose.
    """
    vectors = np.zeros((item_count, size), np.float32)
    shape = (len(interactions.user_ids), item_count)
    chosen = sp.csr_matrix((np.ones(len(interactions), np.float32), (interactions.users, interactions.rows)), shape)
    chosen.data[:] = 1.0
    rank = min(size, item_count, shape[0])
    if chosen.nnz == 0:
        return vectors
    by_user = np.maximum(np.asarray(chosen.sum(axis=1)).ravel(), 1) ** -0.5
    by_item = np.maximum(np.asarray(chosen.sum(axis=0)).ravel(), 1) ** -0.5
    scaled = (sp.diags(by_user) @ chosen @ sp.diags(by_item)).tocsr().astype(np.float32)
    transposed = scaled.T.tocsr()
    sketch = min(rank + _OVERSAMPLING, item_count)
    start = np.random.default_rng(seed).standard_normal((item_count, sketch)).astype(np.float32)
    basis = np.linalg.qr(transposed @ (scaled @ start))[0]
    for _ in range(_POWER_ITERATIONS):
        basis = np.linalg.qr(transposed @ (scaled @ basis))[0]
    projected = scaled @ basis
    values, directions = np.linalg.eigh(projected.T @ projected)
    weights = np.maximum(values[-rank:], 0.0) ** sharpness
    found = (basis @ directions[:, -rank:]) * weights
    # An item that nobody chose has a vector of rounding errors, which must not be blown up to unit length.
    known = np.diff(transposed.indptr) > 0
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    vectors[:, :rank] = np.where(known[:, None], found / np.maximum(lengths, 1e-12), 0.0)
    return vectors
