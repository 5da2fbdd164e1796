"""Finds candidates: exactly as many as asked for, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine import sources
from retrieval_service.engine.blend import Blend
from retrieval_service.engine.catalogue import Catalogue
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.vector_index import VectorIndex
from retrieval_service.engine.query import Candidates, RetrievalQuery, Shortfall, ShortfallReason
from retrieval_service.engine.user_tower import UserTower
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import TowerEntry
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source
from twostage.features.history import History

_WARM_SEARCHES = 5


class RetrievalEngine:
    """Retrieval over one generation; safe to call from several threads.

    How sources are blended:

    1. Exclusions and the filter hold for every source, for what is included by id too.
    2. The leading source is the user vector; without a history the interest tags; without those, popularity.
    3. Seats are taken first by what is included by id, then by every source beside the leading one that has a quota:
       stating a quota reserves that many places, as far as the source can fill them.
    4. The leading source fills what is left, then interest tags, then popularity, each up to its quota. A source
       without a quota that does not lead therefore comes in only where the leading one is at its end.
    5. A candidate that several sources bring takes one place and carries all their bits. A quota counts all that the
       source brought.

    With a history candidates are ordered by user vector · item vector, ties by row. Without one, those that carry an
    interest tag come first; within both groups the more popular first, ties by row.

    Args:
        catalogue: The items.
        tower: The user tower.
        index: The index over the items' vectors.
    """

    def __init__(self, catalogue: Catalogue, tower: UserTower, index: VectorIndex) -> None:
        self._catalogue = catalogue
        self._tower = tower
        self._index = index

    @classmethod
    def open(cls, generation: Generation) -> Self:
        """Opens the default tower of a generation.

        Raises:
            BundleCorrupt: A file is absent or is not what the manifest says.
        """
        manifest = generation.manifest
        return cls.open_folder(
            generation.path, manifest.tower, attributes=manifest.attributes, item_count=manifest.item_count
        )

    @classmethod
    def open_folder(cls, folder: Path, tower: TowerEntry, *, attributes: Mapping[str, str], item_count: int) -> Self:
        """Opens a tower in a generation's folder that need not be published, so that training can ask it first.

        Args:
            folder: The generation's folder; ``items/`` and what ``tower`` names are in it.
            tower: The tower.
            attributes: Name to kind.
            item_count: How many items there are.

        Raises:
            BundleCorrupt: A file is absent or is not what the arguments say.
        """
        catalogue = Catalogue.open(
            folder,
            vectors=tower.item_vectors,
            dimension=tower.dimension,
            attributes=attributes,
            item_count=item_count,
        )
        user_tower = UserTower(folder / tower.user_tower, tower.dimension, tower.history_length)
        index = FaissIndex.open(folder / tower.index.file, tower.index, catalogue.vectors)
        return cls(catalogue, user_tower, index)

    @property
    def item_count(self) -> int:
        """How many items there are."""
        return self._catalogue.item_count

    def user_vector(self, history: History) -> NDArray[np.float32] | None:
        """float32[D], the vector of a history, L2-normalised; None for an empty one."""
        rows = history.rows[-self._tower.history_length :]
        if not len(rows):
            return None
        return self._tower.encode(self._catalogue.vectors[rows])

    def retrieve(self, query: RetrievalQuery) -> Candidates:
        """Finds candidates.

        Args:
            query: What is asked; its rows must be rows of the catalogue.

        Returns:
            Candidates, best first; their number + the shortfall's missing count = the query's count.

        Raises:
            InvalidField: The filter names an attribute that is not there or asks of it what it does not have.
        """
        started = perf_counter()
        selector = self._select(query)
        selected = perf_counter()
        vector = self.user_vector(query.history)
        encoded = perf_counter()
        if vector is None:
            near, near_scores = None, None
        else:
            most = min(query.count, query.quotas.get(Source.USER_VECTOR, query.count))
            near, near_scores = self._index.search(vector, most, selector)
        searched = perf_counter()
        rows, scores, bits = self._blend(query, selector, vector, near, near_scores)
        ended = perf_counter()
        return Candidates(
            rows=rows,
            scores=scores,
            sources=bits,
            shortfall=self._shortfall(query.count, len(rows), selector),
            timings_ms={
                "select": (selected - started) * 1e3,
                "user_tower": (encoded - selected) * 1e3,
                "search": (searched - encoded) * 1e3,
                "blend": (ended - searched) * 1e3,
            },
        )

    def warm(self) -> None:
        """Touches what the first requests would otherwise wait for: the tower, the index, the popular rows."""
        count = min(500, self.item_count)
        history = History.of_rows(np.array(self._catalogue.popular_rows[:10]))
        nobody = History.of_rows(np.empty(0, np.uint32))
        for _ in range(_WARM_SEARCHES):
            self.retrieve(RetrievalQuery(history, count))
            self.retrieve(RetrievalQuery(history, count, exclude_rows=history.rows))
            self.retrieve(RetrievalQuery(nobody, count))

    def _select(self, query: RetrievalQuery) -> RowSet | None:
        allowed = self._catalogue.attributes.rows(query.filter) if query.filter else None
        if len(query.exclude_rows):
            allowed = RowSet.all_rows(self.item_count) if allowed is None else allowed
            return allowed.without(query.exclude_rows)
        return allowed

    def _blend(
        self,
        query: RetrievalQuery,
        selector: RowSet | None,
        vector: NDArray[np.float32] | None,
        near: NDArray[np.uint32] | None,
        near_scores: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint8]]:
        reserved = len(query.include_rows) or query.quotas
        if near is not None and near_scores is not None and not reserved and len(near) == query.count:
            # By far the most frequent case: the index's answer is the answer.
            return near, near_scores, np.full(len(near), Source.USER_VECTOR, np.uint8)
        blend = Blend(query.count, query.quotas)

        def bring(source: Source) -> None:
            blend.bring(source, self._rows_of(source, query, selector, blend.limit(source), near))

        order = [Source.INTEREST_TAGS, Source.POPULAR] if query.interest_tags else [Source.POPULAR]
        if near is not None:
            order.insert(0, Source.USER_VECTOR)
        if len(query.include_rows):
            bring(Source.INCLUDED)
        reserving = [source for source in order[1:] if source in query.quotas]
        for source in reserving + [source for source in order if source not in reserving]:
            if blend.free_count:
                bring(source)
        rows, bits = blend.result()
        if vector is None:
            scores = np.zeros(len(rows), np.float32)
            untagged = (bits & np.uint8(Source.INTEREST_TAGS)) == 0
            best = np.lexsort((rows, -self._catalogue.popularity[rows], untagged))
        else:
            scores = self._catalogue.vectors[rows] @ vector
            best = np.lexsort((rows, -scores))
        return rows[best], scores[best], bits[best]

    def _rows_of(
        self,
        source: Source,
        query: RetrievalQuery,
        selector: RowSet | None,
        limit: int,
        near: NDArray[np.uint32] | None,
    ) -> NDArray[np.uint32]:
        """The best ``limit`` rows of a source."""
        if source is Source.USER_VECTOR:
            assert near is not None
            return near
        if source is Source.INTEREST_TAGS:
            return sources.with_interest_tags(self._catalogue, query.interest_tags, limit, selector)
        if source is Source.INCLUDED:
            return sources.included(query.include_rows, selector)
        return sources.popular(self._catalogue, limit, selector)

    def _shortfall(self, count: int, found_count: int, selector: RowSet | None) -> Shortfall | None:
        if found_count == count:
            return None
        allowed_count = self.item_count if selector is None else len(selector)
        if found_count < min(count, allowed_count):
            reason = ShortfallReason.SELECTION_POLICY
        elif self.item_count < count:
            reason = ShortfallReason.CATALOGUE_TOO_SMALL
        else:
            reason = ShortfallReason.EXCLUDED
        return Shortfall(count - found_count, reason)
