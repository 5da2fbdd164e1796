"""A gateway in this process before several replicas of each stage, over a store that moves on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gateway.server import build as build_gateway
from gateway.settings import GatewaySettings
from ranking_service.server import build as build_ranking
from ranking_service.settings import RankingSettings
from retrieval_service.server import build as build_retrieval
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_catalogue, make_store
from tests.integration.gateway.servers import stop
from tests.ports import free_port
from twostage.bundle.store import Store
from twostage.client import CallFailed, Client
from twostage.generations.model_config import model_config_text
from twostage.model_server_process import model_server_process
from twostage.processes import ServiceProcess
from twostage.rpc.server import ServiceServer
from twostage.v1 import common_pb2, gateway_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc

POLL_SECONDS = 0.1
HISTORY = ("item-3", "item-7", "item-11")
COUNT = 10
CANDIDATE_COUNT = 60


def item_count(generation: int) -> int:
    """No two generations are of one size, so that a row of one is no row of another."""
    return 150 + 10 * generation


class Publisher:
    """Publishes generations, each of another catalogue, and has one model server hold them all."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self._config = folder / "models.config"
        self.model_server_port = free_port()
        self.publish()
        self.lines: list[str] = []
        self.model_server: ServiceProcess = model_server_process(
            self._config, self.model_server_port, lambda _name, line: self.lines.append(line)
        )

    @property
    def model_server_address(self) -> str:
        return f"127.0.0.1:{self.model_server_port}"

    def publish(self, *, make_current: bool = True) -> int:
        generation = max(self.store.generations(), default=0) + 1
        size = item_count(generation)
        make_store(self.store.path, item_count=size, seed=generation, with_models=True, make_current=False)
        aside = self._config.with_suffix(".aside")
        aside.write_text(model_config_text(self.store, self.store.generations()), encoding="utf-8")
        aside.replace(self._config)
        if make_current:
            self.store.set_current(generation)
        return generation


@contextmanager
def fleet(folder: Path) -> Iterator[Publisher]:
    publisher = Publisher(folder)
    publisher.model_server.start()
    try:
        yield publisher
    finally:
        stop(publisher.model_server)


@dataclass
class Processes:
    """A gateway before several replicas of each stage, every server a process of its own."""

    store: Path
    model_server: ServiceProcess
    retrieval: list[ServiceProcess]
    ranking: list[ServiceProcess]
    gateway: ServiceProcess
    lines: list[str]

    @property
    def address(self) -> str:
        return str(self.gateway.announcement["address"])

    def metric(self, process: ServiceProcess, name: str, **labels: str) -> float:
        """A sample of a server's metrics, all of the name that have these labels together."""
        with urlopen(f"http://{process.announcement['metrics_address']}/metrics", timeout=5) as response:
            text = response.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def processes(folder: Path, *, replica_count: int = 2, **gateway_flags: object) -> Iterator[Processes]:
    """Serves a small store by so many replicas of each stage, and one model server."""
    store = make_store(folder / "store", item_count=200, with_models=True)
    config = folder / "models.config"
    config.write_text(model_config_text(store, [1]), encoding="utf-8")
    lines: list[str] = []

    def note(name: str, line: str) -> None:
        lines.append(f"{name}: {line}")

    def service(module: str, name: str, **flags: object) -> tuple[ServiceProcess, str]:
        port = free_port()
        told = {"store": store.path, "port": port, "metrics-port": free_port(), **flags}
        arguments = [text for flag, value in told.items() for text in (f"--{flag}", str(value))]
        return ServiceProcess.python(module, *arguments, name=name, on_line=note), f"127.0.0.1:{port}"

    def several(module: str, **flags: object) -> tuple[list[ServiceProcess], str]:
        made = [service(module, f"{module} {index}", **flags) for index in range(replica_count)]
        return [process for process, _ in made], ",".join(address for _, address in made)

    model_server_port = free_port()
    model_server = model_server_process(config, model_server_port, note)
    retrieval, retrieval_target = several("retrieval_service")
    ranking, ranking_target = several("ranking_service", **{"model-server": f"127.0.0.1:{model_server_port}"})
    targets = {"retrieval": retrieval_target, "ranking": ranking_target, "users": folder / "users.sqlite"}
    gateway, _ = service("gateway", "gateway", **targets, **gateway_flags)
    everybody = [model_server, *retrieval, *ranking, gateway]
    try:
        for process in everybody:
            process.start()
        until(lambda: all(process.is_serving() for process in everybody[1:]))
        yield Processes(store.path, model_server, retrieval, ranking, gateway, lines)
    finally:
        for process in everybody:
            if process.exit_code() is None:
                # One that was left stopped could not end.
                os.kill(process.pid, signal.SIGCONT)
            process.terminate()
        for process in everybody:
            process.wait_stopped()


def _settings(publisher: Publisher, **more: Any) -> dict[str, Any]:
    fixed = {"store": publisher.store.path, "port": 0, "metrics_port": 0}
    return {**fixed, "generation_poll_seconds": POLL_SECONDS, **more}


@contextmanager
def _serving(built: tuple[ServiceServer, Callable[[], None]]) -> Iterator[str]:
    server, prepare = built
    with server:
        prepare()
        yield server.address


@contextmanager
def retrieval(publisher: Publisher, **more: Any) -> Iterator[str]:
    """A replica that follows the store, or is pinned by ``generation``."""
    built = build_retrieval(RetrievalSettings(**_settings(publisher, **more)), structlog.get_logger())
    with _serving(built) as address:
        yield address


@contextmanager
def ranking(publisher: Publisher, **more: Any) -> Iterator[str]:
    """A replica that follows the store, or is pinned by ``generation``."""
    settings = RankingSettings(**_settings(publisher, model_server=publisher.model_server_address, **more))
    with _serving(build_ranking(settings, structlog.get_logger())) as address:
        yield address


@contextmanager
def gateway(publisher: Publisher, retrieval: str, ranking: str, users: Path, **more: Any) -> Iterator[Client]:
    """A gateway before these targets."""
    fields = {"retrieval": retrieval, "ranking": ranking, "users": users, "candidate_count": CANDIDATE_COUNT}
    settings = GatewaySettings(**_settings(publisher, status_poll_seconds=POLL_SECONDS, **fields, **more))
    with (
        _serving(build_gateway(settings, registry=CollectorRegistry())) as address,
        Client(address, timeout_seconds=5) as client,
    ):
        yield client


def ask(client: Client) -> gateway_pb2.RecommendResponse:
    return client.recommend(recent_item_ids=HISTORY, count=COUNT, trace=True)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def held(client: Client) -> dict[str, set[int]]:
    """Who holds what: the gateway by its name, the others by their addresses."""
    status = client.status()
    told = {"gateway": status.status, **{stage.address: stage.status for stage in status.stages}}
    return {name: {each.generation for each in one.generations} for name, one in told.items()}


@dataclass(frozen=True)
class Expected:
    """What one generation answers when its two stages are asked by hand, best first."""

    item_ids: list[str]
    scores: list[float]


def expected(generation: int, retrieval: str, ranking: str) -> Expected:
    """Asks one replica of each stage for one generation, as a gateway would."""
    import grpc  # noqa: PLC0415 - only here

    catalogue = make_catalogue(item_count=item_count(generation), seed=generation)
    rows = [catalogue.item_ids.index(item_id) for item_id in HISTORY]
    history = common_pb2.History(rows=rows)
    with grpc.insecure_channel(retrieval) as first, grpc.insecure_channel(ranking) as second:
        retrieved = retrieval_pb2_grpc.RetrievalServiceStub(first).Retrieve(
            retrieval_pb2.RetrieveRequest(
                generation=generation, history=history, exclude_rows=rows, count=CANDIDATE_COUNT
            ),
            timeout=10,
        )
        ranked = ranking_pb2_grpc.RankingServiceStub(second).Rank(
            ranking_pb2.RankRequest(
                generation=generation, history=history, candidates=retrieved.candidates, count=COUNT
            ),
            timeout=10,
        )
    return Expected([item.item_id for item in ranked.items], [item.score for item in ranked.items])


@dataclass
class Callers:
    """Threads that ask a gateway again and again."""

    client: Client
    count: int = 3
    answers: list[gateway_pb2.RecommendResponse] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def asking(self) -> Iterator[None]:
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                try:
                    self.answers.append(ask(self.client))
                except CallFailed as error:
                    self.errors.append(str(error))
                # Leaves the other threads of this process room.
                time.sleep(0.005)

        threads = [threading.Thread(target=run) for _ in range(self.count)]
        with ExitStack() as stack:
            for thread in threads:
                thread.start()
                stack.callback(thread.join)
            stack.callback(over.set)
            yield

    def until_generation(self, generation: int) -> None:
        """Waits for an answer of a generation."""
        until(lambda: self.answers and self.answers[-1].generation == generation)

    def more(self, count: int) -> None:
        """Waits for so many more answers."""
        before = len(self.answers)
        until(lambda: len(self.answers) >= before + count)


def check(response: gateway_pb2.RecommendResponse, by_generation: dict[int, Expected]) -> None:
    """Every item of an answer is of its generation: its id, its title, its place and its score."""
    catalogue = make_catalogue(item_count=item_count(response.generation), seed=response.generation)
    titles = dict(zip(catalogue.item_ids, catalogue.titles, strict=True))
    wanted = by_generation[response.generation]
    assert [item.item_id for item in response.recommendations] == wanted.item_ids
    assert [item.title for item in response.recommendations] == [titles[item_id] for item_id in wanted.item_ids]
    for item, score in zip(response.recommendations, wanted.scores, strict=True):
        assert abs(item.score - score) < 1e-5
