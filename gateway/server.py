"""The gateway's server: what it is made of, what it loads before it serves, and what it follows from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

import grpc
import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from gateway.access.doors import Doors
from gateway.access.explaining import Explaining
from gateway.adapters.links import open_links
from gateway.adapters.routes import StageRoutes
from gateway.admission.admission import Admission
from gateway.circuits import Circuits
from gateway.engine.answer_cache import AnswerCache
from gateway.engine.catalogue import Catalogue
from gateway.engine.plan import Plan
from gateway.experiments_file import open_experiments
from gateway.explain import Explainer
from gateway.impressions.opening import open_logs
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.planner import Planner
from gateway.servicer import Deadlines, GatewayServicer, Loaded
from gateway.settings import GatewaySettings
from gateway.similar_items import SimilarItems
from gateway.stage_watch import StageWatch
from gateway.status import asked_stages
from gateway.users.metrics import UserStoreMetrics
from gateway.users.opening import open_user_store
from twostage.bundle.reads import GATEWAY_PREFIXES
from twostage.bundle.store import Store
from twostage.generations.keeper import Keeper
from twostage.generations.metrics import GenerationMetrics
from twostage.generations.opening import open_settings_store
from twostage.rpc.launch import launch
from twostage.rpc.metrics import new_registry
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import SettingsError
from twostage.v1 import gateway_pb2_grpc

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
        SettingsError: A certificate, a key or the file of clients is not what it should be.
        ValueError: The budget's shares leave nothing for retrieval, the store's location cannot be opened, or the file
            of experiments is wrong.
    """
    with ExitStack() as opened:
        server, prepare = _assemble(
            settings,
            logger if logger is not None else structlog.get_logger(service=SERVICE),
            registry if registry is not None else new_registry(),
            opened,
        )
        server.on_close(opened.pop_all().close)
        return server, prepare


def _assemble(
    settings: GatewaySettings, logger: FilteringBoundLogger, registry: CollectorRegistry, opened: ExitStack
) -> tuple[ServiceServer, Callable[[], None]]:
    """Makes what :func:`build` does; takes note of everything that is to be closed, also when the rest fails."""
    store = open_settings_store(settings.store)
    observer = Observer(registry)
    user_metrics = UserStoreMetrics(registry)
    security = SecurityMetrics(registry)
    doors = Doors(settings, registry, security, logger)
    watch = StageWatch(poll_seconds=settings.status_poll_seconds, timeout_seconds=settings.status_timeout_ms / 1000)
    links = open_links(settings, watch.wake, doors.opener, registry, logger)
    for replicas in links.all():
        opened.callback(replicas.close)
    opened.callback(doors.close)
    opened.callback(watch.close)
    stages = asked_stages(links.retrieval, links.ranking)
    keeper = Keeper(
        store,
        lambda number: _open_catalogue(store, number, len(links.retrieval), settings.taste_weights),
        logger=logger,
        poll_seconds=settings.generation_poll_seconds,
        wait_seconds=settings.store_wait_seconds,
        on_wait=lambda reason: server.tell_waiting(reason),  # noqa: PLW0108 - made below
        metrics=GenerationMetrics(
            registry,
            lambda number, state: server.metrics.set_generation(number, state),  # noqa: PLW0108 - made below
        ),
    )
    opened.callback(keeper.close)
    deadlines = Deadlines(
        default=settings.default_deadline_ms / 1000,
        longest=settings.max_deadline_ms / 1000,
        status=settings.status_timeout_ms / 1000,
        policy=settings.budget_policy(links.times),
    )
    servicer = GatewayServicer(stages, keeper, deadlines, observer, Explaining(settings.explain_enabled))

    def register(grpc_server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, grpc_server)

    admission = None
    if settings.admission:
        admission = Admission(
            settings.admission_policy(),
            registry,
            default_seconds=deadlines.default,
            longest_seconds=deadlines.longest,
            highest_priority=doors.highest_priority,
            counter=lambda method: partial(server.metrics.for_method(method).count, grpc.StatusCode.RESOURCE_EXHAUSTED),
        )
        opened.callback(admission.close)
    server = ServiceServer(
        SERVICE,
        [SERVICE_NAME],
        register,
        settings,
        registry=registry,
        logger=logger,
        gates=[*doors.gates, *([admission.gate] if admission else [])],
        security=security,
        interceptors=[admission.doorstep] if admission else [],
        workers=admission.workers if admission else None,
    )
    planner = Planner(Plan(candidate_count=settings.candidate_count))
    watch_experiments = open_experiments(
        settings.experiments,
        planner,
        logger=logger,
        registry=registry,
        on_close=opened.callback,
        on_arms=observer.answers.keep_arms,
    )
    logs = open_logs(settings, registry)
    if logs is not None:
        opened.callback(logs.close, settings.grace_seconds)

    def prepare() -> None:
        watch.start(stages)
        doors.watch(links.all())
        keeper.start(settings.generation)
        users = open_user_store(
            settings.users_access(), on_refusal=user_metrics.not_asked, on_unreadable=user_metrics.unreadable
        )
        server.on_close(users.close)
        keeper.watch()
        circuits, answers = Circuits(observer), AnswerCache(settings.remembered_bytes, settings.remembered_seconds)
        server.on_close(circuits.close)
        watch_experiments()
        routes = StageRoutes(
            lambda: keeper.all, links.retrieval_calls, links.ranking_calls, keeper.note_asked, links.times
        )
        pipeline = Pipeline(
            routes,
            users,
            plans=planner,
            observer=observer,
            recorder=None if logs is None else logs.recorder,
            circuits=circuits,
            answers=answers,
        )
        servicer.loaded = Loaded(
            pipeline,
            SimilarItems(routes, observer, circuits),
            users,
            Explainer(pipeline, routes),
            answers=answers,
            event_log=None if logs is None else logs.events,
        )

    return server, prepare


def _open_catalogue(store: Store, number: int, target_count: int, taste_weights: Mapping[str, float]) -> Catalogue:
    """Opens what the gateway reads of a generation.

    Args:
        store: Where it is.
        number: Which.
        target_count: How many targets retrieval has.
        taste_weights: How much of a history each recorded action may take.

    Raises:
        BundleError: A file of ``items/`` is not what it should be.
        SettingsError: Retrieval has several targets, and they are not as many as the index has shards; or a weight is
            given to an action that is not recorded.
    """
    store.fetch(number, GATEWAY_PREFIXES, models=False)
    generation = store.open(number, verify=GATEWAY_PREFIXES)
    shard_count = len(generation.manifest.tower.index.shard_files)
    if target_count not in (1, shard_count):
        raise SettingsError(
            f"retrieval: expected one target, or {shard_count} by semicolons for the shards of generation "
            f"{generation.number}'s index, received {target_count}"
        )
    catalogue = Catalogue(generation, taste_weights)
    unknown = sorted(set(taste_weights).difference(catalogue.actions))
    if unknown:
        raise SettingsError(
            f"taste_weights: expected names among {', '.join(catalogue.actions)}, which generation {generation.number} "
            f"records, received {unknown[0]!r}"
        )
    return catalogue
