"""Finds candidates: exactly as many as asked for, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.catalogue import Catalogue
from retrieval_service.engine.gathering import Gatherer
from retrieval_service.engine.index.faiss_file import open_part
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.faiss_part import OnSearch
from retrieval_service.engine.index.vector_index import VectorIndex
from retrieval_service.engine.person import finite
from retrieval_service.engine.query import Candidates, Gathered, RetrievalQuery, Shard, SimilarQuery
from retrieval_service.engine.searching import Searching, ShardSearch, WholeSearch
from retrieval_service.engine.user_tower import UserTower
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import OrdersEntry, TowerEntry
from twostage.candidates.blend import blend
from twostage.candidates.source import Source
from twostage.errors import NotWhole
from twostage.features.history import History

_WARM_SEARCHES = 5


class RetrievalEngine:
    """Retrieval over one generation; safe to call from several threads.

    An answer is made in two steps. :meth:`gather` asks the sources; which of them, in which order and for how many
    rows is the rule of :func:`retrieval_service.engine.seating.seating`. Exclusions and the filter hold for every
    source, for what is included by id too. :func:`twostage.candidates.blend.blend` seats and orders what they brought.
    An engine over one shard does the first step alone: a gateway merges the shards' lists and does the second.

    Args:
        catalogue: The items, all of them for a shard too.
        tower: The user tower.
        searching: The index over the items' vectors, or a shard of it.
        shares: The part of the candidates, 0 to 1, that is reserved for a source where a request states no quotas.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tower: UserTower,
        searching: Searching,
        shares: Mapping[Source, float] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._tower = tower
        self._searching = searching
        self._gatherer = Gatherer(catalogue, tower, searching, dict(shares or {}))

    @classmethod
    def open(
        cls,
        generation: Generation,
        *,
        shard: int | None = None,
        index: VectorIndex | None = None,
        on_search: OnSearch | None = None,
    ) -> Self:
        """Opens the default tower of a generation.

        Args:
            generation: The generation.
            shard: Which of the index's shards to search, from 0; all of them when None.
            index: Searched instead of the bundle's index, e.g. a vector database's.
            on_search: Told how each search of the bundle's index was done; nobody is when None.

        Raises:
            BundleCorrupt: A file is absent or is not what the manifest says.
        """
        manifest = generation.manifest
        return cls.open_folder(
            generation.path,
            manifest.tower,
            attributes=manifest.attributes,
            item_count=manifest.item_count,
            orders=manifest.orders,
            shard=shard,
            index=index,
            on_search=on_search,
        )

    @classmethod
    def open_folder(
        cls,
        folder: Path,
        tower: TowerEntry,
        *,
        attributes: Mapping[str, str],
        item_count: int,
        orders: OrdersEntry | None = None,
        shard: int | None = None,
        index: VectorIndex | None = None,
        on_search: OnSearch | None = None,
    ) -> Self:
        """Opens a tower in a generation's folder that need not be published, so that training can ask it first.

        Args:
            folder: The generation's folder; ``items/`` and what ``tower`` and ``orders`` name are in it.
            tower: The tower.
            attributes: Name to kind.
            item_count: How many items there are.
            orders: Orders of items beside popularity; none when None.
            shard: Which of the index's shards to search, from 0; all of them when None.
            index: Searched instead of the tower's index; None opens that.
            on_search: As of :meth:`open`.

        Raises:
            BundleCorrupt: A file is absent or is not what the arguments say.
        """
        catalogue = Catalogue.open(
            folder, tower, orders=orders or OrdersEntry(), attributes=attributes, item_count=item_count
        )
        user_tower = UserTower(folder / tower.user_tower, tower.dimension, tower.history_length)
        shard_count = len(tower.index.shard_files)
        searching: Searching
        if index is not None:
            searching = WholeSearch(index)
        elif shard is None or (shard, shard_count) == (0, 1):
            searching = WholeSearch(FaissIndex.open(folder, tower.index, catalogue.vectors, on_search))
        else:
            part = open_part(folder, tower.index, catalogue.vectors, shard, on_search=on_search)
            searching = ShardSearch(part, Shard(shard, shard_count))
        return cls(catalogue, user_tower, searching, shares_of(tower))

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        return self._catalogue

    @property
    def item_count(self) -> int:
        """How many items there are."""
        return self._catalogue.item_count

    @property
    def shard(self) -> Shard:
        """Which part of the catalogue is searched, 0 of 1 when all of it."""
        return self._searching.shard

    def user_vector(self, history: History) -> NDArray[np.float32] | None:
        """float32[D], the vector of a history, L2-normalised; None for an empty one.

        Raises:
            FloatingPointError: The tower answers something else than finite numbers.
        """
        rows = history.rows[-self._tower.history_length :]
        return finite(self._tower.encode(self._catalogue.vectors[rows]), "user vector") if len(rows) else None

    def retrieve(self, query: RetrievalQuery) -> Candidates:
        """Finds candidates.

        Args:
            query: What is asked; its rows must be rows of the catalogue.

        Returns:
            Candidates, best first; their number + the shortfall's missing count = the query's count.

        Raises:
            InvalidField: The filter names an attribute that is not there or asks of it what it does not have.
            NotWhole: This is a shard.
            FloatingPointError: The tower answers something else than finite numbers.
        """
        self._check_whole()
        return _blended(self.gather(query), query.count, with_ranks=query.return_source_ranks)

    def similar(self, query: SimilarQuery) -> Candidates:
        """Finds the items with the highest inner product with one, by item vector, the item itself left out.

        Args:
            query: What is asked; its rows must be rows of the catalogue.

        Returns:
            Items, the nearest first, ties by row; their source is ``NEIGHBOURS`` and their scores item · item. Their
            number + the shortfall's missing count = the query's count.

        Raises:
            InvalidField: As :meth:`retrieve`.
            NotWhole: This is a shard.
            FloatingPointError: The item's vector is damaged.
        """
        self._check_whole()
        return _blended(self.gather_similar(query), query.count)

    def gather(self, query: RetrievalQuery, *, shared: bool = True, exhaustive: bool = False) -> Gathered:
        """The first step of :meth:`retrieve`, which a shard does too.

        Args:
            query: What is asked; its rows must be rows of the catalogue.
            shared: False leaves out the sources that every shard knows in full.
            exhaustive: True has a shard scan all of its rows that filter and exclusions leave.

        Raises:
            InvalidField, FloatingPointError: As :meth:`retrieve`.
        """
        return self._gatherer.of_person(query, shared=shared, exhaustive=exhaustive)

    def gather_similar(self, query: SimilarQuery, *, exhaustive: bool = False) -> Gathered:
        """The first step of :meth:`similar`, which a shard does too.

        Args:
            query: What is asked; its rows must be rows of the catalogue.
            exhaustive: True has a shard scan all of its rows that filter and exclusions leave.

        Raises:
            InvalidField, FloatingPointError: As :meth:`similar`.
        """
        return self._gatherer.of_item(query, exhaustive=exhaustive)

    def warm(self) -> None:
        """Touches what the first requests would otherwise wait for: the tower, the index, the popular rows."""
        self._catalogue.attributes.prepare()
        count = min(500, self.item_count)
        history = History.of_rows(np.array(self._catalogue.popular_rows[:10]))
        nobody = History.of_rows(np.empty(0, np.uint32))
        for _ in range(_WARM_SEARCHES):
            self.gather(RetrievalQuery(history, count))
            self.gather(RetrievalQuery(history, count, exclude_rows=history.rows))
            self.gather(RetrievalQuery(nobody, count))

    def _check_whole(self) -> None:
        shard = self.shard
        if shard.count > 1:
            raise NotWhole(shard.index, shard.count)


def shares_of(tower: TowerEntry) -> dict[Source, float]:
    """The shares that a bundle states, by source; names that this program does not know are left out."""
    known = {(source.name or "").lower(): source for source in Source}
    return {known[name]: share for name, share in tower.source_shares.items() if name in known}


def _blended(gathered: Gathered, count: int, *, with_ranks: bool = False) -> Candidates:
    started = perf_counter()
    blended = blend(
        gathered.lists,
        count,
        item_count=gathered.item_count,
        allowed_count=gathered.allowed_count,
        with_ranks=with_ranks,
    )
    return Candidates(
        rows=blended.rows,
        scores=blended.scores,
        sources=blended.sources,
        shortfall=blended.shortfall,
        timings_ms={**gathered.timings_ms, "blend": (perf_counter() - started) * 1e3},
        source_ranks=blended.source_ranks,
        history_weights=gathered.history_weights,
    )
