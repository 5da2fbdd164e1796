"""The ranking service's life: load the first generation ▸ serve ▸ follow the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from structlog.typing import FilteringBoundLogger

from ranking_service.loading import Loading
from ranking_service.metrics import RankingMetrics
from ranking_service.model_wait import ModelUnavailable
from ranking_service.servicer import SERVICE, SERVICE_NAME, RankingServicer
from ranking_service.settings import RankingSettings
from twostage.generations.keeper import MAY_PASS, Keeper
from twostage.generations.metrics import GenerationMetrics
from twostage.generations.opening import open_settings_store
from twostage.rpc.launch import launch
from twostage.rpc.metrics import new_registry
from twostage.rpc.server import ServiceServer
from twostage.tfserving.client import ModelServerClient
from twostage.v1 import ranking_pb2_grpc


def run(flags: Mapping[str, object]) -> int:
    """Runs the service in this process; see `twostage.rpc.launch.launch`."""
    return launch(SERVICE, RankingSettings, flags, build)


def build(settings: RankingSettings, logger: FilteringBoundLogger) -> tuple[ServiceServer, Callable[[], None]]:
    """Makes the server and the function that loads what it serves first, and follows the store from then on.

    What the function raises is why the service does not start: BundleError, ModelUnavailable, RankingError.

    Raises:
        ValueError: The store's location cannot be opened.
    """
    store = open_settings_store(settings.store)
    registry = new_registry()
    counted = RankingMetrics(registry)
    client = ModelServerClient(settings.model_server, settings.model_server_max_in_flight, counted)
    loading = Loading(settings, store, client, logger)
    keeper = Keeper(
        store,
        loading.prepare,
        logger=logger,
        poll_seconds=settings.generation_poll_seconds,
        wait_seconds=settings.store_wait_seconds,
        on_wait=lambda reason: server.tell_waiting(reason),  # noqa: PLW0108 - made below
        metrics=GenerationMetrics(
            registry,
            lambda number, state: server.metrics.set_generation(number, state),  # noqa: PLW0108 - made below
        ),
        may_pass=(*MAY_PASS, ModelUnavailable),
        tend=loading.tend,
    )
    loading.keeper = keeper
    servicer = RankingServicer(keeper, settings.default_timeout_seconds, settings.deadline_margin_ms / 1e3, counted)
    server = ServiceServer(
        SERVICE,
        [SERVICE_NAME],
        lambda grpc_server: ranking_pb2_grpc.add_RankingServiceServicer_to_server(servicer, grpc_server),
        settings,
        registry=registry,
        logger=logger,
    )
    for close in (client.close, loading.close, keeper.close):
        server.on_close(close)

    def prepare() -> None:
        with loading.start(lambda missing: keeper.tell_waiting(f"waiting: {missing}")):
            keeper.start(settings.generation)
        keeper.watch()

    return server, prepare
