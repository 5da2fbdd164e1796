"""Indexes of a small catalogue in NumPy, whole and in shards of neighbouring rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.catalogue import Catalogue
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.index.vector_index import Pool
from retrieval_service.engine.query import Gathered, RetrievalQuery, Shard, SimilarQuery
from retrieval_service.engine.searching import ShardSearch, WholeSearch
from retrieval_service.engine.user_tower import UserTower
from tests.bundles import user_tower_path
from twostage.bundle.row_set import RowSet
from twostage.candidates.blend import Blended, blend
from twostage.candidates.shards import complete, is_short, merge_answers
from twostage.candidates.source import Source

Found = tuple[NDArray[np.uint32], NDArray[np.float32]]


@dataclass
class MemoryIndex:
    """Brute force over the rows from ``start`` to ``stop``; both a whole index and a shard.

    Args:
        vectors: float32[N, D], of all items.
        start: The first row held.
        stop: One past the last.
        cell_count: 0 looks at all rows. Otherwise rows lie in so many cells, the two nearest of which are looked at,
            by codes of half precision at a tenth of the length: what an inverted file does.
    """

    vectors: NDArray[np.float32]
    start: int
    stop: int
    cell_count: int = 0

    def pool(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None, *, exhaustive: bool = False
    ) -> Pool:
        """As :class:`retrieval_service.engine.index.vector_index.PartialIndex`."""
        rows = np.arange(self.start, self.stop, dtype=np.uint32)
        if selector is not None:
            rows = selector.keep(rows)
        if exhaustive or not self.cell_count:
            keys = np.einsum("ij,j->i", self.vectors[rows], vector)
            best = np.lexsort((rows, -keys))[:count]
            return Pool(rows[best][::-1], keys[best][::-1], None, 0)
        centres = self.vectors[: self.cell_count]
        cells = np.argmax(np.einsum("ij,kj->ik", self.vectors[rows], centres), axis=1)
        rows = rows[np.isin(cells, np.argsort(-np.einsum("ij,j->i", centres, vector))[:2])]
        codes = np.round(np.einsum("ij,j->i", self.vectors[rows], vector) * 8) / 8
        best = np.lexsort((rows, -codes))[: 2 * count]
        rows, codes = rows[best], codes[best]
        return Pool(rows, np.einsum("ij,j->i", self.vectors[rows], vector), codes.astype(np.float32), 2 * count)

    def search(self, vector: NDArray[np.float32], count: int, selector: RowSet | None) -> Found:
        """As :class:`retrieval_service.engine.index.vector_index.VectorIndex`, for all rows."""
        assert (self.start, self.stop) == (0, len(self.vectors))
        pool = self.pool(vector, count, selector)
        allowed_count = len(self.vectors) if selector is None else len(selector)
        if len(pool.rows) < min(count, allowed_count):
            pool = self.pool(vector, count, selector, exhaustive=True)
        best = np.lexsort((pool.rows, -pool.keys))[:count]
        return pool.rows[best], pool.keys[best]


class Sharded:
    """One catalogue behind an engine over all rows and behind one for each of its shards.

    Args:
        whole: All rows.
        shards: In their order.
    """

    def __init__(self, whole: RetrievalEngine, shards: Sequence[RetrievalEngine]) -> None:
        self.whole = whole
        self.shards = shards

    @classmethod
    def in_memory(
        cls,
        catalogue: Catalogue,
        bounds: Sequence[int],
        cell_count: int = 0,
        shares: dict[Source, float] | None = None,
    ) -> Self:
        """Over indexes in memory.

        Args:
            catalogue: The items.
            bounds: Where shards end, ascending; the last is the number of items.
            cell_count: As of :class:`MemoryIndex`.
            shares: As the engine's.
        """
        tower = UserTower(user_tower_path(), 16, 50)
        vectors = catalogue.vectors
        stretches = zip([0, *bounds], bounds, strict=False)
        parts = [MemoryIndex(vectors, start, stop, cell_count) for start, stop in stretches]
        whole = WholeSearch(MemoryIndex(vectors, 0, len(vectors), cell_count))
        shards = [ShardSearch(part, Shard(number, len(parts))) for number, part in enumerate(parts)]
        return cls(
            RetrievalEngine(catalogue, tower, whole, shares),
            [RetrievalEngine(catalogue, tower, shard, shares) for shard in shards],
        )

    def merged(self, query: RetrievalQuery | SimilarQuery) -> Blended:
        """What a gateway makes of the shards' answers."""
        first = self._round(query, exhaustive=False)
        allowed_count = first[0].allowed_count
        assert all(part.allowed_count == allowed_count for part in first)
        lists = merge_answers([part.lists for part in first])
        if any(is_short(entry, allowed_count) for entry in lists):
            second = merge_answers([part.lists for part in self._round(query, exhaustive=True)])
            lists = complete(lists, second, allowed_count)
        return blend(
            lists,
            query.count,
            item_count=first[0].item_count,
            allowed_count=allowed_count,
            with_ranks=isinstance(query, RetrievalQuery) and query.return_source_ranks,
        )

    def _round(self, query: RetrievalQuery | SimilarQuery, *, exhaustive: bool) -> list[Gathered]:
        if isinstance(query, SimilarQuery):
            return [shard.gather_similar(query, exhaustive=exhaustive) for shard in self.shards]
        return [
            # Any shard may be the one that is asked for what all know.
            shard.gather(query, shared=shard.shard.index == len(self.shards) // 2, exhaustive=exhaustive)
            for shard in self.shards
        ]
