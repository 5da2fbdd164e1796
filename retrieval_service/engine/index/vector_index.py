"""What the engine asks of an index of item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.row_set import RowSet


class VectorIndex(Protocol):
    """An index of the item vectors of one generation; safe to search from several threads at once."""

    def search(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Finds the rows with the highest inner product.

        Args:
            vector: float32[D], finite.
            count: How many, 1 or more.
            selector: Which rows may be found; None for all.

        Returns:
            Rows and their inner products with the item vectors, the highest first, ties by row; exactly ``count`` of
            them, or all that the selector leaves when those are fewer. An approximate index may miss near rows, never
            return fewer.
        """


@dataclass(frozen=True)
class Pool:
    """What a part of an index found, before the parts' findings are put together; columns of one length.

    Args:
        rows: uint32[P], distinct, in no order that may be relied on.
        keys: float32[P], inner products with the item vectors.
        code_keys: float32[P], inner products with the codes that the index keeps, by which the whole pool is cut to
            ``pool_count``; None where no codes took part.
        pool_count: How many rows the codes' order lets through.
    """

    rows: NDArray[np.uint32]
    keys: NDArray[np.float32]
    code_keys: NDArray[np.float32] | None
    pool_count: int


class PartialIndex(Protocol):
    """An index over some of the rows: a shard. Safe to search from several threads at once."""

    def pool(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None, *, exhaustive: bool = False
    ) -> Pool:
        """Finds the shard's share of the rows with the highest inner product.

        Every decision (how deep to search, whether to scan) rests on what all shards know alike, so that the shards'
        pools together are what one index over all rows would look at. The pools of all shards together may hold fewer
        than ``count`` rows although the selector leaves more; then ``exhaustive`` is asked for.

        Args:
            vector: float32[D], finite.
            count: How many are wanted over all shards, 1 or more.
            selector: Which rows of the whole catalogue may be found; None for all.
            exhaustive: True scans all that the selector leaves of the shard's rows.
        """
