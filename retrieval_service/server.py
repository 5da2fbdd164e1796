"""The retrieval service's life: load the first generation ▸ serve ▸ follow the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc
from structlog.typing import FilteringBoundLogger

from retrieval_service.loading import Loading
from retrieval_service.metrics import RetrievalMetrics
from retrieval_service.servicer import RetrievalServicer
from retrieval_service.settings import RetrievalSettings
from twostage.bundle.errors import BundleCorrupt
from twostage.generations.keeper import MAY_PASS, Keeper
from twostage.generations.metrics import GenerationMetrics
from twostage.generations.opening import open_settings_store
from twostage.rpc.launch import launch
from twostage.rpc.metrics import new_registry
from twostage.rpc.server import ServiceServer
from twostage.v1 import retrieval_pb2_grpc

SERVICE_NAME = "twostage.v1.RetrievalService"


def build(settings: RetrievalSettings, logger: FilteringBoundLogger) -> tuple[ServiceServer, Callable[[], None]]:
    """Makes the server and the function that loads what it serves first, and follows the store from then on.

    What the function raises is why the service does not start: BundleError, NotReady where Milvus does not answer.

    Raises:
        ValueError: The store's location cannot be opened.
    """
    store = open_settings_store(settings.store)
    registry = new_registry()
    counted = RetrievalMetrics(registry)
    keeper = Keeper(
        store,
        Loading(settings, store, logger, counted).prepare,
        logger=logger,
        poll_seconds=settings.generation_poll_seconds,
        wait_seconds=settings.store_wait_seconds,
        on_wait=lambda reason: server.tell_waiting(reason),  # noqa: PLW0108 - made below
        metrics=GenerationMetrics(
            registry,
            lambda number, state: server.metrics.set_generation(number, state),  # noqa: PLW0108 - made below
        ),
        closer_of=lambda held: held.close,
        # A generation is pushed to Milvus after it was published, perhaps after it became current.
        may_pass=MAY_PASS if settings.milvus_uri is None else (*MAY_PASS, BundleCorrupt),
    )
    servicer = RetrievalServicer(keeper, counted)

    def register(server: grpc.Server) -> None:
        retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(servicer, server)

    server = ServiceServer("retrieval", [SERVICE_NAME], register, settings, registry=registry, logger=logger)
    server.on_close(keeper.close)

    def prepare() -> None:
        keeper.start(settings.generation)
        keeper.watch()

    return server, prepare


def run(flags: Mapping[str, object]) -> int:
    """Runs the service in this process and returns its exit code.

    Args:
        flags: Settings given on the command line by field name; None for those that were not.
    """
    return launch("retrieval", RetrievalSettings, flags, build)
