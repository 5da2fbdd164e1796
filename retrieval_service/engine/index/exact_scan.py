"""The nearest rows by computing every inner product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.row_set import RowSet

_CHUNK_ROWS = 65_536
"""Bounds what is gathered at once: 32 MiB at 128 dimensions."""


def exact_scan(
    item_vectors: NDArray[np.float32], vector: NDArray[np.float32], count: int, selector: RowSet | None
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Finds the rows with the highest inner product among those that the selector leaves.

    Args:
        item_vectors: float32[N, D].
        vector: float32[D].
        count: How many, 1 or more.
        selector: Which rows may be found; None for all.

    Returns:
        As :meth:`retrieval_service.engine.index.vector_index.VectorIndex.search`.
    """
    allowed = np.arange(len(item_vectors), dtype=np.uint32) if selector is None else selector.rows
    scores = np.empty(len(allowed), np.float32)
    for start in range(0, len(allowed), _CHUNK_ROWS):
        chunk = allowed[start : start + _CHUNK_ROWS]
        scores[start : start + _CHUNK_ROWS] = item_vectors[chunk] @ vector
    if len(allowed) > count:
        nearest = np.argpartition(scores, -count)[-count:]
        allowed, scores = allowed[nearest], scores[nearest]
    return best_first(allowed.astype(np.uint32), scores)


def best_first(rows: NDArray[np.uint32], scores: NDArray[np.float32]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Orders rows by score, the highest first, ties by row."""
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]
