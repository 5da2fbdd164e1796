"""Servers over a store that moves on, and callers that ask all the while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import structlog

from ranking_service.server import build as build_ranking
from ranking_service.settings import RankingSettings
from retrieval_service.server import build as build_retrieval
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_store
from tests.integration.ranking.reference import ITEM_COUNT, add_golden
from tests.ports import free_port
from twostage.bundle.store import Store
from twostage.generations.model_config import model_config_text
from twostage.model_server_process import model_server_process
from twostage.processes import ServiceProcess
from twostage.tfserving import ModelServerClient, ModelServerError, VersionState
from twostage.v1 import common_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc

POLL_SECONDS = 0.1


def publish(path: Path, *, current: bool = True, golden_offset: float = 0.0) -> int:
    """Publishes the next generation, whose seed is its number, with golden rankings computed in NumPy."""
    store = Store(path)
    seed = max(store.generations(), default=0) + 1
    store = make_store(path, item_count=ITEM_COUNT, seed=seed, with_models=True, make_current=False)
    number = store.generations()[-1]
    assert number == seed
    add_golden(store.generations_path / str(number), golden_offset, seed=seed)
    if current:
        store.set_current(number)
    return number


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@dataclass
class Asked:
    """A service under test.

    Attributes:
        status: Asks for its status.
    """

    stub: Any
    status: Callable[[], common_pb2.ServiceStatus]
    metrics: Callable[[str], float | None]

    def held(self) -> list[int]:
        """What it holds, the active one first."""
        generations = sorted(self.status().generations, key=lambda one: not one.active)
        return [one.generation for one in generations]

    def refused(self) -> dict[int, str]:
        return {one.generation: one.reason for one in self.status().refused}


@contextmanager
def retrieval(store: Path | str, **settings: Any) -> Iterator[Asked]:
    """A retrieval service in this process."""
    fields = {"store": store, "port": 0, "metrics_port": 0, "generation_poll_seconds": POLL_SECONDS, **settings}
    server, prepare = build_retrieval(RetrievalSettings(**fields), structlog.get_logger())
    with server:
        prepare()
        with grpc.insecure_channel(server.address) as channel:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
            request = retrieval_pb2.RetrievalServiceGetStatusRequest()
            yield Asked(
                stub, lambda: stub.GetStatus(request, timeout=10).status, server.metrics.registry.get_sample_value
            )


@contextmanager
def ranking(store: Path, model_server: str, **settings: Any) -> Iterator[Asked]:
    """A ranking service in this process."""
    fields = {"store": store, "port": 0, "metrics_port": 0, "generation_poll_seconds": POLL_SECONDS, **settings}
    server, prepare = build_ranking(RankingSettings(model_server=model_server, **fields), structlog.get_logger())
    with server:
        prepare()
        with grpc.insecure_channel(server.address) as channel:
            stub = ranking_pb2_grpc.RankingServiceStub(channel)
            request = ranking_pb2.RankingServiceGetStatusRequest()
            yield Asked(
                stub, lambda: stub.GetStatus(request, timeout=10).status, server.metrics.registry.get_sample_value
            )


class ModelServer:
    """A model server as a process, before a config file that others write; it is the one that a stack starts."""

    def __init__(self, store: Store, config: Path, generations: list[int]) -> None:
        self.config = config
        config.write_text(model_config_text(store, generations), encoding="utf-8")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self.process: ServiceProcess = model_server_process(
            config, self.port, lambda _name, line: self.lines.append(line)
        )

    def start(self) -> None:
        self.process.start()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait_stopped()

    def available(self, model: str = "default") -> set[int]:
        """The versions that answer."""
        with ModelServerClient(self.address) as client:
            try:
                versions = client.model_status(model, None, 2.0)
            except ModelServerError:
                return set()
        return {number for number, status in versions.items() if status.state is VersionState.AVAILABLE}


@dataclass
class Callers:
    """Threads that ask again and again.

    Args:
        ask: Asks once.
        count: How many threads.

    Attributes:
        answers: What came, each behind the moments when it was asked for and when it was there.
        errors: What went wrong.
    """

    ask: Callable[[], Any]
    count: int = 2
    answers: list[tuple[float, float, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def asking(self) -> Iterator[None]:
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                asked = time.monotonic()
                try:
                    answer = self.ask()
                    self.answers.append((asked, time.monotonic(), answer))
                except grpc.RpcError as error:
                    told: Any = error
                    self.errors.append(f"{told.code()}: {told.details()}")
                # Leaves the other threads of this process room.
                time.sleep(0.002)

        threads = [threading.Thread(target=run) for _ in range(self.count)]
        with ExitStack() as stack:
            for thread in threads:
                thread.start()
                stack.callback(thread.join)
            stack.callback(over.set)
            yield

    @property
    def responses(self) -> list[Any]:
        """What came."""
        return [answer for _, _, answer in self.answers]

    @property
    def generations(self) -> set[int]:
        """The generations that answered."""
        return {answer.generation for answer in self.responses}

    def went_back(self) -> bool:
        """Whether a request that began after an answer was there was answered by a generation below that answer's."""
        done = sorted((there, answer.generation) for _, there, answer in self.answers)
        newest, place = 0, 0
        for asked, _, answer in sorted(self.answers, key=lambda entry: entry[0]):
            while place < len(done) and done[place][0] < asked:
                newest = max(newest, done[place][1])
                place += 1
            if answer.generation < newest:
                return True
        return False


def rank_request(generation: int = 0) -> ranking_pb2.RankRequest:
    rows = list(range(20, 60))
    scores = [round(0.9 - 0.03 * place, 3) for place in range(len(rows))]
    return ranking_pb2.RankRequest(
        generation=generation,
        history=common_pb2.History(rows=[3, 4, 5]),
        candidates=retrieval_pb2.CandidateColumns(rows=rows, scores=scores),
        count=20,
    )


def retrieve_request(generation: int = 0) -> retrieval_pb2.RetrieveRequest:
    """A history of one item, whose vector is the user vector whatever the attention."""
    return retrieval_pb2.RetrieveRequest(
        generation=generation, history=common_pb2.History(rows=[42]), exclude_rows=[42], count=20
    )
