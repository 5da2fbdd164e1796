"""The gateway's server: what it is made of, and what it loads before it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import grpc
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from gateway.adapters.ranking import RankingAdapter
from gateway.adapters.retrieval import RetrievalAdapter
from gateway.adapters.sharded_retrieval import ShardedRetrievalAdapter
from gateway.events import EventReader
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.servicer import Deadlines, GatewayServicer, Loaded
from gateway.settings import GatewaySettings
from gateway.similar_items import SimilarItems
from gateway.users.sqlite_store import SqliteUserStore
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.rpc.channels import Replicas
from twostage.rpc.launch import launch
from twostage.rpc.metrics import new_registry
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import SettingsError
from twostage.v1 import gateway_pb2_grpc, ranking_pb2_grpc, retrieval_pb2_grpc

SERVICE = "gateway"
SERVICE_NAME = "twostage.v1.RecommendationService"


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
        ValueError: The budget's shares leave nothing for retrieval.
    """
    policy = settings.budget_policy()
    registry = registry if registry is not None else new_registry()
    observer = Observer(registry)
    retrieval = [
        Replicas(
            target,
            retrieval_pb2_grpc.RetrievalServiceStub,
            max_message_bytes=settings.max_message_bytes,
            connection_count=settings.retrieval_connections,
        )
        for target in settings.retrieval_targets
    ]
    ranking = Replicas(
        settings.ranking,
        ranking_pb2_grpc.RankingServiceStub,
        max_message_bytes=settings.max_message_bytes,
        connection_count=settings.ranking_connections,
    )
    deadlines = Deadlines(
        default=settings.default_deadline_ms / 1000,
        longest=settings.max_deadline_ms / 1000,
        status=settings.status_timeout_ms / 1000,
        policy=policy,
    )
    servicer = GatewayServicer(retrieval, ranking, deadlines, observer)

    def register(grpc_server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, grpc_server)

    server = ServiceServer(SERVICE, [SERVICE_NAME], register, settings, registry=registry, logger=logger)
    for shard in retrieval:
        server.on_close(shard.close)
    server.on_close(ranking.close)

    def prepare() -> None:
        generation = Store(settings.store).open(settings.generation, verify=("items/",))
        _map_items(generation)
        retrieval_stage = _retrieval_stage(retrieval, generation)
        users = SqliteUserStore(settings.users)
        server.on_close(users.close)
        pipeline = Pipeline(
            generation,
            users,
            retrieval_stage,
            RankingAdapter(ranking),
            candidate_count=settings.candidate_count,
            observer=observer,
        )
        server.metrics.set_generation(generation.number)
        servicer.loaded = Loaded(
            pipeline, SimilarItems(generation, retrieval_stage, observer), users, EventReader(generation)
        )

    return server, prepare


def _retrieval_stage(
    retrieval: Sequence[Replicas[retrieval_pb2_grpc.RetrievalServiceStub]], generation: Generation
) -> RetrievalAdapter | ShardedRetrievalAdapter:
    """The retrieval stage: each replica with the whole index, or one shard of it behind each target."""
    if len(retrieval) == 1:
        return RetrievalAdapter(retrieval[0])
    shard_count = len(generation.manifest.tower.index.shard_files)
    if len(retrieval) != shard_count:
        raise SettingsError(
            f"retrieval: expected one target, or {shard_count} by semicolons for the shards of generation "
            f"{generation.number}'s index, received {len(retrieval)}"
        )
    return ShardedRetrievalAdapter(retrieval, generation)


def _map_items(generation: Generation) -> None:
    """Maps now what is mapped when first used, so that a file that does not fit shows before requests come."""
    for part in (generation.ids, generation.titles, generation.popularity, generation.popular_rows):
        len(part)
    _ = generation.attributes
