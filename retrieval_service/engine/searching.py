"""The index as the engine asks it, whether it holds all rows or a shard's."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.vector_index import PartialIndex, Pool, VectorIndex
from retrieval_service.engine.query import Shard
from twostage.bundle.row_set import RowSet
from twostage.candidates.source_list import best_first


class Searching(Protocol):
    """Finds rows by vector."""

    @property
    def shard(self) -> Shard:
        """Which rows it finds, 0 of 1 when all."""

    def find(self, vector: NDArray[np.float32], count: int, selector: RowSet | None, *, exhaustive: bool) -> Pool:
        """What the held rows contribute to the ``count`` nearest of all that the selector leaves.

        Args:
            vector: float32[D], finite.
            count: How many are wanted of the whole catalogue, 1 or more.
            selector: Which rows may be found; None for all.
            exhaustive: True scans all that the selector leaves of the held rows.

        Returns:
            Rows by key, the highest first, ties by row; at most ``count`` where no codes took part.
        """


class WholeSearch:
    """Searches an index that holds all rows.

    Args:
        index: The index.
    """

    shard = Shard()

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    def find(
        self,
        vector: NDArray[np.float32],
        count: int,
        selector: RowSet | None,
        *,
        exhaustive: bool,  # noqa: ARG002 - it always finds as many as there are
    ) -> Pool:
        """As :meth:`Searching.find`."""
        rows, keys = self._index.search(vector, count, selector)
        return Pool(rows, keys, None, 0)


class ShardSearch:
    """Searches a shard.

    Args:
        index: The shard.
        shard: Which one it is.
    """

    def __init__(self, index: PartialIndex, shard: Shard) -> None:
        self._index = index
        self._shard = shard

    @property
    def shard(self) -> Shard:
        """Which rows it finds."""
        return self._shard

    def find(self, vector: NDArray[np.float32], count: int, selector: RowSet | None, *, exhaustive: bool) -> Pool:
        """As :meth:`Searching.find`."""
        pool = self._index.pool(vector, count, selector, exhaustive=exhaustive)
        codes = pool.code_keys
        order = best_first(pool.rows, pool.keys, count if codes is None else None)
        return Pool(pool.rows[order], pool.keys[order], None if codes is None else codes[order], pool.pool_count)
