"""Makes generations ready to rank: fetch ▸ verify ▸ open ▸ wait for the models ▸ warm up ▸ golden check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from structlog.typing import FilteringBoundLogger

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.golden import check_golden
from ranking_service.engine.query import RankingQuery
from ranking_service.engine.scorer import Scorer
from ranking_service.held import Held
from ranking_service.model_server_scorer import ModelServerScorer
from ranking_service.model_versions import ModelVersions
from ranking_service.model_wait import wait_for_models
from ranking_service.settings import RankingSettings
from twostage.bundle.checksums import verify_files
from twostage.bundle.generation import Generation
from twostage.bundle.reads import ranking_prefixes
from twostage.bundle.store import Store
from twostage.features.context import Context
from twostage.features.history import History
from twostage.generations.keeper import Keeper
from twostage.generations.model_config import ModelConfigFile
from twostage.tfserving.client import ModelServerClient

# A first Predict of a shape may trace and allocate; these are the sizes most requests have.
_WARM_UP_CANDIDATES = (1, 500)
# Loading has no caller whose time is short.
_TIMEOUT_SECONDS = 30.0


class Loading:
    """Makes generations ready to rank: everything between a number and what answers for it.

    Args:
        settings: Everything the service was told.
        store: Where generations are.
        client: The model server.
        logger: Is told what was loaded.

    Attributes:
        keeper: Who holds what is loaded; set before anything is.
    """

    keeper: Keeper[Held]

    def __init__(
        self, settings: RankingSettings, store: Store, client: ModelServerClient, logger: FilteringBoundLogger
    ) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._logger = logger
        self._file: ModelConfigFile | None = None
        self._versions: ModelVersions | None = None
        if settings.model_config_file is not None:
            self._file = ModelConfigFile(settings.model_config_file, store)
            self._versions = ModelVersions(self._file, settings.model_retire_seconds, logger)
        self._start_deadline: float | None = None
        self._tell: Callable[[str], None] = lambda _: None

    @contextmanager
    def start(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Inside the block all generations that are tried share one wait for the model server.

        Args:
            tell: Is told what is waited for.
        """
        self._start_deadline = time.monotonic() + self._settings.model_server_wait_seconds
        self._tell = tell
        try:
            yield
        finally:
            self._start_deadline = None
            self._tell = lambda _: None

    def prepare(self, number: int) -> Held:
        """Makes a generation ready to rank.

        Raises:
            BundleError: A file is not what the manifest says, or the store cannot be read.
            ModelUnavailable: The model server does not come to hold its models.
            RankingError: A model does not do what the bundle says.
            TwostageError: The model server fails.
            Abandoned: Nobody wants the generation any more.
        """
        started = time.perf_counter()
        generation = open_verified(self._store, number, models=self._versions is not None)
        engine = RankingEngine.open(generation)
        entries = engine.generation.manifest.rankers.values()
        scorer = ModelServerScorer(self._client, entries)
        if self._versions is not None:
            pinned = self._settings.generation is not None
            first = not self.keeper.all and not pinned
            previous = self._store.previous(number) if first else None
            self._versions.require(number, self.keeper.wanted, previous)
        verified = time.perf_counter()
        wait_for_models(
            self._client,
            [entry.model for entry in entries],
            number,
            self._settings.model_server_wait_seconds,
            self._logger,
            self._tell,
            lambda: self.keeper.require_wanted(number),
            self._start_deadline,
        )
        available = time.perf_counter()
        warm_up(engine, scorer)
        golden_count = check_golden(engine, scorer, _TIMEOUT_SECONDS)
        if not golden_count:
            self._logger.warning("the generation has no golden rankings to check", generation=number)
        self._logger.info(
            "generation loaded",
            generation=number,
            item_count=engine.item_count,
            golden_count=golden_count,
            rankers=sorted(engine.rankers),
            open_ms=round((verified - started) * 1e3, 1),
            wait_ms=round((available - verified) * 1e3, 1),
            check_ms=round((time.perf_counter() - available) * 1e3, 1),
        )
        return Held(engine, scorer)

    def tend(self, wanted: frozenset[int]) -> None:
        """Keeps the model server's config at what is wanted, where this service writes it."""
        if self._versions is not None:
            self._versions.tend(wanted)

    def close(self) -> None:
        """Takes back what this process needs of the model server."""
        if self._file is not None:
            self._file.close()


def open_verified(store: Store, number: int, *, models: bool = False) -> Generation:
    """Opens a generation with the sums of everything that ranking maps compared.

    Args:
        store: The store.
        number: The generation.
        models: Whether its SavedModels are fetched and compared too.

    Raises:
        BundleError: There is no store, no generation, or a file is not what the manifest says.
    """
    manifest = store.manifest(number)
    prefixes = ranking_prefixes(manifest)
    store.fetch(number, prefixes, models=models)
    generation = store.open(number)
    verify_files(generation.path, manifest.files, prefixes)
    if models:
        verify_files(store.path, manifest.model_files)
    return generation


def warm_up(engine: RankingEngine, scorer: Scorer) -> None:
    """Ranks popular items with every ranker, so that the first caller does not wait for pages and traces.

    Raises:
        TwostageError, RankingError: As RankingEngine.rank; a model that cannot rank must not serve.
    """
    popular = np.asarray(engine.generation.popular_rows[: max(_WARM_UP_CANDIDATES)])
    for name in engine.rankers:
        for count in _WARM_UP_CANDIDATES:
            rows = popular[:count]
            query = RankingQuery(
                History.of_rows(rows[:10]), Context(), rows, np.zeros(len(rows), np.float32), 20, ranker=name
            )
            engine.rank(query, scorer, _TIMEOUT_SECONDS)
