"""The ranking service's life: verify ▸ open ▸ wait for the models ▸ warm up ▸ golden check ▸ serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from structlog.typing import FilteringBoundLogger

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.golden import check_golden
from ranking_service.engine.query import RankingQuery
from ranking_service.engine.scorer import Scorer
from ranking_service.model_server_scorer import ModelServerScorer
from ranking_service.model_wait import wait_for_models
from ranking_service.servicer import SERVICE, SERVICE_NAME, RankingServicer
from ranking_service.settings import RankingSettings
from twostage.bundle.checksums import verify_files
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.features.context import Context
from twostage.features.history import History
from twostage.rpc.launch import launch
from twostage.rpc.server import ServiceServer
from twostage.tfserving.client import ModelServerClient
from twostage.v1 import ranking_pb2_grpc

# A first Predict of a shape may trace and allocate; these are the sizes most requests have.
_WARM_UP_CANDIDATES = (1, 500)
# Loading has no caller whose time is short.
_START_TIMEOUT_SECONDS = 30.0


def run(flags: Mapping[str, object]) -> int:
    """Runs the service in this process; see `twostage.rpc.launch.launch`."""
    return launch(SERVICE, RankingSettings, flags, build)


def build(settings: RankingSettings, logger: FilteringBoundLogger) -> tuple[ServiceServer, Callable[[], None]]:
    """Makes the server and the function that loads what it serves.

    What the function raises is why the service does not start: BundleError, ModelUnavailable, RankingError.
    """
    servicer = RankingServicer(settings.default_timeout_seconds, settings.deadline_margin_ms / 1e3)
    server = ServiceServer(
        SERVICE,
        [SERVICE_NAME],
        lambda grpc_server: ranking_pb2_grpc.add_RankingServiceServicer_to_server(servicer, grpc_server),
        settings,
        logger=logger,
    )
    client = ModelServerClient(settings.model_server, settings.model_server_max_in_flight)
    server.on_close(client.close)

    def prepare() -> None:
        engine = RankingEngine.open(open_verified(Store(settings.store), settings.generation))
        entries = engine.generation.manifest.rankers.values()
        scorer = ModelServerScorer(client, entries)

        def tell(missing: str) -> None:
            servicer.detail = f"waiting: {missing}"

        models = [entry.model for entry in entries]
        wait_for_models(client, models, engine.number, settings.model_server_wait_seconds, logger, tell)
        warm_up(engine, scorer)
        checked = check_golden(engine, scorer, _START_TIMEOUT_SECONDS)
        if not checked:
            logger.warning("the generation has no golden rankings to check", generation=engine.number)
        server.metrics.set_generation(engine.number)
        servicer.hold(engine, scorer)
        logger.info(
            "generation loaded",
            generation=engine.number,
            item_count=engine.item_count,
            golden_count=checked,
            rankers=sorted(engine.rankers),
        )

    return server, prepare


def open_verified(store: Store, number: int | None = None) -> Generation:
    """Opens a generation, the current one when None, with the sums of everything that ranking maps compared.

    Raises:
        BundleError: There is no store, no generation, or a file is not what the manifest says.
    """
    generation = store.open(number)
    manifest = generation.manifest
    tables = [path for entry in manifest.rankers.values() for path in (entry.candidate_table, entry.history_table)]
    prefixes = ["items/", "ranking/", "golden/", manifest.tower.item_vectors, *(path for path in tables if path)]
    verify_files(generation.path, manifest.files, prefixes)
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
            engine.rank(query, scorer, _START_TIMEOUT_SECONDS)
