"""All shards of an index behind the engine's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.faiss_file import open_part
from retrieval_service.engine.index.faiss_part import FaissPart, OnSearch
from retrieval_service.engine.index.vector_index import Pool
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet
from twostage.candidates.source_list import best_of_pool


class FaissIndex:
    """The index of a whole catalogue; implements :class:`VectorIndex`.

    Its parts' findings are put together as a gateway puts together what shards on several machines found, so both give
    the same answers. Compressed codes only choose what is looked at: every score is an inner product with an item
    vector.

    Args:
        parts: The shards; together they hold every row once.
        item_count: N.
    """

    def __init__(self, parts: Sequence[FaissPart], item_count: int) -> None:
        self._parts = parts
        self._item_count = item_count

    @classmethod
    def open(
        cls, folder: Path, entry: IndexEntry, item_vectors: NDArray[np.float32], on_search: OnSearch | None = None
    ) -> Self:
        """Maps the index's files and holds them against the manifest.

        Args:
            folder: The generation's folder.
            entry: What the manifest says of the index.
            item_vectors: float32[N, D], what it must index.
            on_search: As of :class:`FaissPart`; told for each shard.

        Raises:
            BundleCorrupt: As :func:`open_part`.
        """
        first = open_part(folder, entry, item_vectors, 0, on_search=on_search)
        # What is reckoned from all lists is the same in every shard, so it is held once.
        others = [
            open_part(folder, entry, item_vectors, shard, first.lists, on_search)
            for shard in range(1, len(entry.shard_files))
        ]
        return cls([first, *others], len(item_vectors))

    def search(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """As :meth:`VectorIndex.search`."""
        count = min(count, self._item_count if selector is None else len(selector))
        if count == 0:
            return np.empty(0, np.uint32), np.empty(0, np.float32)
        pool = _together([part.pool(vector, count, selector) for part in self._parts])
        if len(pool.rows) < count:
            pool = _together([part.pool(vector, count, selector, exhaustive=True) for part in self._parts])
        order = best_of_pool(pool.rows, pool.keys, pool.code_keys, pool.pool_count, count)
        return pool.rows[order], pool.keys[order]


def _together(pools: Sequence[Pool]) -> Pool:
    if len(pools) == 1:
        return pools[0]
    codes = [pool.code_keys for pool in pools if pool.code_keys is not None]
    return Pool(
        np.concatenate([pool.rows for pool in pools]),
        np.concatenate([pool.keys for pool in pools]),
        np.concatenate(codes) if codes else None,
        pools[0].pool_count,
    )
