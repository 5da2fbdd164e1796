"""Asks the sources what they have."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine import sources
from retrieval_service.engine.catalogue import Catalogue
from retrieval_service.engine.index.exact_scan import inner_products
from retrieval_service.engine.index.vector_index import Pool
from retrieval_service.engine.person import Person, finite
from retrieval_service.engine.query import Gathered, RetrievalQuery, SimilarQuery
from retrieval_service.engine.searching import Searching
from retrieval_service.engine.seating import seating
from retrieval_service.engine.user_tower import UserTower
from twostage.bundle.filters import Filter
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList


class Gatherer:
    """Asks sources for lists; the same for a whole catalogue and for a shard.

    Args:
        catalogue: The items, all of them for a shard too.
        tower: The user tower.
        searching: The index over the items' vectors, or a shard of it.
        shares: The part of the candidates, 0 to 1, that is reserved for a source where a request states no quotas.
    """

    def __init__(
        self, catalogue: Catalogue, tower: UserTower, searching: Searching, shares: Mapping[Source, float]
    ) -> None:
        self._catalogue = catalogue
        self._tower = tower
        self._searching = searching
        self._shares = shares

    def of_person(self, query: RetrievalQuery, *, shared: bool = True, exhaustive: bool = False) -> Gathered:
        """Asks the sources.

        Args:
            query: What is asked; its rows must be rows of the catalogue.
            shared: False leaves out the sources that every shard knows in full.
            exhaustive: True has a shard scan all of its rows that filter and exclusions leave.

        Raises:
            InvalidField: The filter names an attribute that is not there or asks of it what it does not have.
            FloatingPointError: The tower answers something else than finite numbers, or an item's vector is damaged.
        """
        started = perf_counter()
        selector = self._select(query.filter, query.exclude_rows)
        selected = perf_counter()
        person = Person(query, self._catalogue, self._tower, self._shares)
        encoded = perf_counter()
        lists: list[SourceList] = []
        for source, limit in seating(person.known, query.count, query.quotas, self._shares):
            vectors = person.vectors(source)
            if vectors is not None:
                for group, vector in enumerate(vectors):
                    pool = self._searching.find(vector, limit, selector, exhaustive=exhaustive)
                    scores = pool.keys if vector is person.vector else self._scores(pool.rows, person.vector)
                    lists.append(_searched(source, group, limit, pool, scores))
            elif shared:
                rows = self._shared_rows(source, limit, selector, person, query)
                if len(rows):
                    lists.append(SourceList(source, rows, self._scores(rows, person.vector), limit))
        searched = perf_counter()
        return Gathered(
            lists,
            item_count=self._catalogue.item_count,
            allowed_count=self._catalogue.item_count if selector is None else len(selector),
            timings_ms={
                "select": (selected - started) * 1e3,
                "user_tower": (encoded - selected) * 1e3,
                "search": (searched - encoded) * 1e3,
            },
            history_weights=person.history_weights,
        )

    def of_item(self, query: SimilarQuery, *, exhaustive: bool = False) -> Gathered:
        """Asks the index for an item's neighbours; the arguments as :meth:`of_person`'s."""
        started = perf_counter()
        own = np.array([query.row], np.uint32)
        selector = self._select(query.filter, np.concatenate([query.exclude_rows, own]))
        assert selector is not None
        selected = perf_counter()
        vector = finite(np.array(self._catalogue.vectors[query.row]), "item vector")
        pool = self._searching.find(vector, query.count, selector, exhaustive=exhaustive)
        return Gathered(
            [_searched(Source.NEIGHBOURS, 0, query.count, pool, pool.keys)],
            # The item itself could not be found, whatever is asked.
            item_count=self._catalogue.item_count - 1,
            allowed_count=len(selector),
            timings_ms={"select": (selected - started) * 1e3, "search": (perf_counter() - selected) * 1e3},
        )

    def _select(self, condition_filter: Filter, exclude_rows: NDArray[np.uint32]) -> RowSet | None:
        allowed = self._catalogue.attributes.rows(condition_filter) if condition_filter else None
        if len(exclude_rows):
            allowed = RowSet.all_rows(self._catalogue.item_count) if allowed is None else allowed
            return allowed.without(exclude_rows)
        return allowed

    def _shared_rows(
        self, source: Source, count: int, selector: RowSet | None, person: Person, query: RetrievalQuery
    ) -> NDArray[np.uint32]:
        """The best rows of a source that does not search."""
        if source is Source.INCLUDED:
            return sources.included(query.include_rows, selector)[:count]
        if source is Source.INTEREST_TAGS:
            assert person.carrying is not None
            return sources.popular(
                self._catalogue, count, person.carrying if selector is None else person.carrying & selector
            )
        return sources.rows_of(source, self._catalogue, count, selector)

    def _scores(self, rows: NDArray[np.uint32], vector: NDArray[np.float32] | None) -> NDArray[np.float32]:
        if vector is None:
            return np.zeros(len(rows), np.float32)
        # Unlike a matrix product this rounds a row the same whatever rows are beside it, so that shards agree.
        return inner_products(self._catalogue.vectors, rows, vector)


def _searched(source: Source, group: int, wanted: int, pool: Pool, scores: NDArray[np.float32]) -> SourceList:
    return SourceList(source, pool.rows, scores, wanted, pool.keys, pool.code_keys, pool.pool_count, group)
