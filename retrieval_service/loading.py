"""Makes generations ready to be searched: fetch ▸ verify ▸ open ▸ warm up ▸ golden check."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import check_golden
from retrieval_service.held import Held
from retrieval_service.metrics import RetrievalMetrics
from retrieval_service.settings import RetrievalSettings
from twostage.bundle.errors import BundleUnsupported
from twostage.bundle.generation import Generation
from twostage.bundle.reads import RETRIEVAL_PREFIXES
from twostage.bundle.store import Store

if TYPE_CHECKING:
    from retrieval_service.milvus.milvus_index import MilvusIndex


class Loading:
    """Makes generations ready to be searched: everything between a number and what answers for it.

    Args:
        settings: Everything the service was told.
        store: Where generations are.
        logger: Is told what was loaded.
        metrics: Told how the index is searched and of filters; nobody is when None.
    """

    def __init__(
        self,
        settings: RetrievalSettings,
        store: Store,
        logger: FilteringBoundLogger,
        metrics: RetrievalMetrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._settings = settings
        self._store = store
        self._logger = logger
        # The newest generation loaded, and how many shards its index has.
        self._newest = (0, 0)

    def prepare(self, number: int) -> Held:
        """Opens a generation and holds it to its own golden answers.

        Raises:
            BundleError: There is no store or no such generation, a file is not what it should be, or the index has
                another number of shards than those of which this server holds one.
            NotReady: Milvus does not answer.
        """
        settings = self._settings
        started = time.perf_counter()
        self._store.fetch(number, RETRIEVAL_PREFIXES, models=False)
        generation = self._store.open(number, verify=RETRIEVAL_PREFIXES if settings.verify_checksums else ())
        shard_count = self._checked_shard_count(generation)
        verified = time.perf_counter()
        milvus = _milvus(settings, generation)
        try:
            metrics = self._metrics
            engine = RetrievalEngine.open(
                generation,
                shard=settings.shard,
                index=milvus,
                on_search=None if metrics is None else metrics.searched,
            )
            # Opened now, so that a damaged table is found here and not by the first request.
            item_count = len(generation.ids)
            engine.warm()
            golden_count = check_golden(engine, generation, other_index=milvus is not None)
            if metrics is not None:
                engine.catalogue.attributes.watch_filters(metrics.filter_looked_up)
        except BaseException:
            if milvus is not None:
                milvus.close()
            raise
        self._newest = max(self._newest, (number, shard_count))
        index = generation.manifest.tower.index
        self._logger.info(
            "generation loaded",
            generation=generation.number,
            item_count=item_count,
            index=index.factory if milvus is None else f"milvus {settings.milvus_uri}",
            shard=f"{engine.shard.index} of {engine.shard.count}" if engine.shard.count > 1 else None,
            golden="none in the bundle, not checked" if golden_count is None else f"{golden_count} answers agree",
            verify_ms=round((verified - started) * 1e3, 1) if settings.verify_checksums else None,
            load_ms=round((time.perf_counter() - verified) * 1e3, 1),
        )
        return Held(generation, engine) if milvus is None else Held(generation, engine, milvus.close)

    def _checked_shard_count(self, generation: Generation) -> int:
        """The number of shards of a generation's index.

        Raises:
            BundleUnsupported: This server holds one shard, and a newer generation has another number of them: shards
                that are not served would be missed. An older one may have: the others may hold nothing else.
        """
        shard_count = len(generation.manifest.tower.index.shard_files)
        newest, before = self._newest
        if self._settings.shard is not None and 0 < newest < generation.number and shard_count != before:
            raise BundleUnsupported(
                f"generation {generation.number}: expected an index of {before} shards, for this server holds shard "
                f"{self._settings.shard} of {before}, found {shard_count}"
            )
        return shard_count


def _milvus(settings: RetrievalSettings, generation: Generation) -> MilvusIndex | None:
    """The generation's collection in Milvus, where one is to be searched.

    Raises:
        BundleCorrupt: There is no such collection, or it holds something else.
        NotReady: Milvus does not answer.
    """
    if settings.milvus_uri is None:
        return None
    # Loaded only here: the client brings gRPC stubs and pandas along.
    from retrieval_service.milvus.address import MilvusAddress  # noqa: PLC0415
    from retrieval_service.milvus.collection import Collection  # noqa: PLC0415
    from retrieval_service.milvus.milvus_index import MilvusIndex, SearchPlan  # noqa: PLC0415

    address = MilvusAddress.parse(settings.milvus_uri, settings.milvus_secret())
    collection = Collection.of(generation, prefix=settings.milvus_prefix)
    plan = SearchPlan(timeout_seconds=settings.milvus_timeout_ms / 1e3, effort=settings.milvus_effort)
    return MilvusIndex.open(address, collection, plan=plan)
