"""The nearest rows by computing every inner product."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from twostage.bundle.row_set import RowSet
from twostage.candidates.source_list import best_first

_CHUNK_ROWS = 1_048_576
"""Bounds what is numbered at once: 8 MiB."""


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
    rows = np.arange(len(item_vectors), dtype=np.uint32) if selector is None else selector.rows
    keys = inner_products(item_vectors, rows, vector)
    order = best_first(rows, keys, count)
    return rows[order], keys[order]


def inner_products(
    item_vectors: NDArray[np.float32], rows: NDArray[np.integer], vector: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32[M], the inner products of a vector with the vectors of M rows.

    The vectors are read where they lie: for 800 rows among a million that takes 55 µs, gathering them first 170 µs.

    Args:
        item_vectors: float32[N, D], C-contiguous.
        rows: integer[M], C-contiguous, from 0 to N - 1; int64 is not copied.
        vector: float32[D].

    Raises:
        IndexError: A row is past the end, which a damaged file may hold; FAISS would read there all the same.
    """
    if len(rows) and rows.max() >= len(item_vectors):
        raise IndexError(f"rows: expected below {len(item_vectors)}, received {rows.max()}")
    products = np.empty(len(rows), np.float32)
    vector = np.ascontiguousarray(vector, np.float32)
    dimension = item_vectors.shape[1]
    for start in range(0, len(rows), _CHUNK_ROWS):
        numbers = rows[start : start + _CHUNK_ROWS].astype(np.int64, copy=False)
        faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]
            faiss.swig_ptr(products[start : start + _CHUNK_ROWS]),
            faiss.swig_ptr(vector),
            faiss.swig_ptr(item_vectors),
            faiss.swig_ptr(numbers),
            dimension,
            1,
            len(numbers),
        )
    return products
