"""Item vectors and user vectors that the contract is tried on, and the judge: brute force in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSION = 32


@dataclass(frozen=True)
class Trial:
    """A catalogue and what is searched in it.

    Args:
        vectors: float32[N, D].
        queries: float32[Q, D].
    """

    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]


def clustered(item_count: int = 3000, query_count: int = 25) -> Trial:
    """Unit vectors around 40 centres, as towers make them; queries lie between two centres."""
    generator = np.random.default_rng(11)
    centres = generator.normal(size=(40, DIMENSION))
    items = centres[generator.integers(0, 40, item_count)] + 0.6 * generator.normal(size=(item_count, DIMENSION))
    between = centres[generator.integers(0, 40, query_count)] + 0.5 * centres[generator.integers(0, 40, query_count)]
    queries = between + 0.4 * generator.normal(size=(query_count, DIMENSION))
    return Trial(_unit(items), _unit(queries))


def tied() -> Trial:
    """Vectors that occur several times each, of few bits, so that equal inner products are equal to the last bit."""
    generator = np.random.default_rng(12)
    distinct = generator.integers(-4, 5, size=(120, DIMENSION)) / 8
    vectors = distinct[generator.integers(0, 120, 600)]
    return Trial(np.asarray(vectors, np.float32), np.asarray(distinct[:10], np.float32))


def brute_force(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[N], inner products in double precision."""
    products: NDArray[np.float64] = vectors.astype(np.float64) @ query.astype(np.float64)
    return products


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
