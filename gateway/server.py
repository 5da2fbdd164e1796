"""The gateway's server: what it is made of, what it loads before it serves, and what it follows from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc
import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from gateway.adapters.routes import StageRoutes
from gateway.engine.catalogue import Catalogue
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.servicer import Deadlines, GatewayServicer, Loaded
from gateway.settings import GatewaySettings
from gateway.similar_items import SimilarItems
from gateway.stage_watch import StageWatch
from gateway.status import asked_stages
from gateway.users.sqlite_store import SqliteUserStore
from twostage.bundle.store import Store
from twostage.generations.keeper import Keeper
from twostage.generations.metrics import GenerationMetrics
from twostage.generations.opening import open_settings_store
from twostage.rpc.channels import Replicas
from twostage.rpc.launch import launch
from twostage.rpc.metrics import new_registry
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import SettingsError
from twostage.v1 import gateway_pb2_grpc, ranking_pb2_grpc, retrieval_pb2_grpc

SERVICE = "gateway"
SERVICE_NAME = "twostage.v1.RecommendationService"

# Of a generation's files.
_READ = ("items/",)


def run(flags: Mapping[str, object]) -> int:
    """Runs the gateway in this process; see `twostage.rpc.launch.launch`."""
    return launch(SERVICE, GatewaySettings, flags, build)


def build(
    settings: GatewaySettings,
    logger: FilteringBoundLogger | None = None,
    registry: CollectorRegistry | None = None,
) -> tuple[ServiceServer, Callable[[], None]]:
    """Makes the server and the function that loads what it answers from.

    The stages need not be there: requests are answered from lower rungs until they are.

    Args:
        settings: Everything the gateway was told.
        logger: Where events are logged; structlog's default when unset.
        registry: Where metrics are registered; a new one when unset.

    Returns:
        The server, not started, and what must have run before it may serve. That raises BundleError when the store
        or the generation is not what it should be, UserStoreUnavailable when the users' file is not, and
        SettingsError when retrieval's targets are not as many as the index has shards.

    Raises:
        ValueError: The budget's shares leave nothing for retrieval, or the store's location cannot be opened.
    """
    policy = settings.budget_policy()
    store = open_settings_store(settings.store)
    logger = logger if logger is not None else structlog.get_logger(service=SERVICE)
    registry = registry if registry is not None else new_registry()
    observer = Observer(registry)
    watch = StageWatch(poll_seconds=settings.status_poll_seconds, timeout_seconds=settings.status_timeout_ms / 1000)
    retrieval = [
        Replicas(
            target,
            retrieval_pb2_grpc.RetrievalServiceStub,
            max_message_bytes=settings.max_message_bytes,
            connection_count=settings.retrieval_connections,
            on_change=watch.wake,
        )
        for target in settings.retrieval_targets
    ]
    ranking = Replicas(
        settings.ranking,
        ranking_pb2_grpc.RankingServiceStub,
        max_message_bytes=settings.max_message_bytes,
        connection_count=settings.ranking_connections,
        on_change=watch.wake,
    )
    stages = asked_stages(retrieval, ranking)
    keeper = Keeper(
        store,
        lambda number: _open_catalogue(store, number, target_count=len(retrieval)),
        logger=logger,
        poll_seconds=settings.generation_poll_seconds,
        metrics=GenerationMetrics(
            registry,
            lambda number, state: server.metrics.set_generation(number, state),  # noqa: PLW0108 - made below
        ),
    )
    deadlines = Deadlines(
        default=settings.default_deadline_ms / 1000,
        longest=settings.max_deadline_ms / 1000,
        status=settings.status_timeout_ms / 1000,
        policy=policy,
    )
    servicer = GatewayServicer(stages, keeper, deadlines, observer)

    def register(grpc_server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, grpc_server)

    server = ServiceServer(SERVICE, [SERVICE_NAME], register, settings, registry=registry, logger=logger)
    for shard in retrieval:
        server.on_close(shard.close)
    server.on_close(ranking.close)
    server.on_close(watch.close)
    server.on_close(keeper.close)

    def prepare() -> None:
        watch.start(stages)
        keeper.start(settings.generation)
        users = SqliteUserStore(settings.users)
        server.on_close(users.close)
        keeper.watch()
        routes = StageRoutes(lambda: keeper.all, retrieval, ranking, keeper.note_asked)
        servicer.loaded = Loaded(
            Pipeline(routes, users, candidate_count=settings.candidate_count, observer=observer),
            SimilarItems(routes, observer),
            users,
        )

    return server, prepare


def _open_catalogue(store: Store, number: int, *, target_count: int) -> Catalogue:
    """Opens what the gateway reads of a generation.

    Args:
        store: Where it is.
        number: Which.
        target_count: How many targets retrieval has.

    Raises:
        BundleError: A file of ``items/`` is not what it should be.
        SettingsError: Retrieval has several targets, and they are not as many as the index has shards.
    """
    store.fetch(number, _READ, models=False)
    generation = store.open(number, verify=_READ)
    shard_count = len(generation.manifest.tower.index.shard_files)
    if target_count not in (1, shard_count):
        raise SettingsError(
            f"retrieval: expected one target, or {shard_count} by semicolons for the shards of generation "
            f"{generation.number}'s index, received {target_count}"
        )
    return Catalogue(generation)
