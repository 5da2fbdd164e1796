"""One process of each service, to be killed, stopped, slowed and started again; and a load that goes on meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import grpc
import numpy as np

from gateway.users.import_histories import import_histories
from tests.bundles import make_store
from tests.ports import free_port
from twostage.bundle.histories import histories_folder, known_people
from twostage.bundle.store import Store
from twostage.generations.model_config import model_config_text
from twostage.load.open_loop import run_load
from twostage.load.result import LoadResult
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2

ITEM_COUNT = 400
CANDIDATE_COUNT = 300
COUNT = 10
DEADLINE_SECONDS = 1.0
RATE = 40.0
"""Requests a second: modest, for faults are looked at here and not capacity."""

PEOPLE_COUNT = 20
"""So many people with a history are asked for, each once a round."""


@dataclass
class Stack:
    """The processes by their names: ``model_server``, ``retrieval``, ``ranking``, ``gateway``."""

    processes: dict[str, ServiceProcess]
    people: list[str]
    lines: list[str]
    channel: grpc.Channel
    make_gateway: Callable[[dict[str, str]], ServiceProcess]

    def kill(self, name: str) -> None:
        """Ends a process as a crash does."""
        process = self.processes[name]
        os.kill(process.pid, signal.SIGKILL)
        process.wait_stopped()

    def restart(self, name: str) -> None:
        """Starts a process that ended, and returns when it serves."""
        start_all([self.processes[name]], self.lines)

    def stop(self, name: str) -> None:
        """A process hangs from now on: its connections stand, and nobody answers."""
        os.kill(self.processes[name].pid, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """A process that hung goes on."""
        os.kill(self.processes[name].pid, signal.SIGCONT)

    @contextmanager
    def slowed(self, name: str, *, stopped_seconds: float, running_seconds: float) -> Iterator[None]:
        """A process runs for a while, stands for a while, and so on."""
        pid = self.processes[name].pid
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait(stopped_seconds)
                os.kill(pid, signal.SIGCONT)
                over.wait(running_seconds)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def another_gateway(self, **settings: str) -> Iterator[Stack]:
        """The same stages behind a gateway of its own, with some settings in other ways."""
        process = self.make_gateway({f"TWOSTAGE_GATEWAY_{name.upper()}": text for name, text in settings.items()})
        try:
            start_all([process], self.lines)
            with grpc.insecure_channel(str(process.announcement["address"])) as channel:
                stack = replace(self, channel=channel, processes={**self.processes, "gateway": process})
                stack.warm_up()
                yield stack
        finally:
            process.terminate()
            process.wait_stopped()

    def warm_up(self) -> None:
        """Asks for all known people until each of them was answered in full."""
        deadline = time.monotonic() + 30
        for user_id in self.people:
            while self.ask(user_id, timeout_seconds=5).rung != gateway_pb2.RUNG_FULL:
                assert time.monotonic() < deadline, "not warm in time"

    def ask(self, user_id: str, *, timeout_seconds: float = DEADLINE_SECONDS) -> gateway_pb2.RecommendResponse:
        """One request beside the load."""
        request = gateway_pb2.RecommendRequest(user_id=user_id, count=COUNT)
        call = self.channel.unary_unary(
            "/twostage.v1.RecommendationService/Recommend",
            request_serializer=gateway_pb2.RecommendRequest.SerializeToString,
            response_deserializer=gateway_pb2.RecommendResponse.FromString,
        )
        response: gateway_pb2.RecommendResponse = call(request, timeout=timeout_seconds)
        return response


@dataclass(frozen=True)
class Answered:
    """One answer: when it was due and when it came, by ``time.perf_counter``."""

    due: float
    came: float
    response: gateway_pb2.RecommendResponse

    @property
    def rung(self) -> str:
        return gateway_pb2.Rung.Name(self.response.rung).removeprefix("RUNG_")


@dataclass
class Load:
    """Asks for the known people in turn, on schedule, until it is left."""

    stack: Stack
    deadline_seconds: float = DEADLINE_SECONDS
    rate: float = RATE
    answers: list[Answered] = field(default_factory=list)
    results: list[LoadResult] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._rounds: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for thread in self._rounds:
            thread.join()

    @property
    def _round_seconds(self) -> float:
        return len(self.stack.people) / self.rate

    @property
    def due_count(self) -> int:
        return sum(result.due_count for result in self.results)

    @property
    def errors(self) -> dict[str, int]:
        return {code: count for result in self.results for code, count in result.errors.items()}

    def p99(self, answers: Sequence[Answered]) -> float:
        """Of latencies from when a request was due, in seconds."""
        return float(np.percentile([answer.came - answer.due for answer in answers], 99))

    def between(self, start: float, end: float) -> list[Answered]:
        """The answers to requests that were due then."""
        return sorted((each for each in self.answers if start <= each.due < end), key=lambda each: each.due)

    def until(self, condition: Callable[[Answered], bool], *, after: float, seconds: float) -> Answered:
        """The first answer to a request that was due after a moment and is as wanted; waits for it."""
        deadline = time.perf_counter() + seconds
        while True:
            for answer in self.between(after, float("inf")):
                if condition(answer):
                    return answer
            assert time.perf_counter() < deadline, "no such answer in time"
            time.sleep(0.01)

    def _run(self) -> None:
        # Rounds overlap: the answers of one may still be on their way when the next one begins.
        next_round = time.perf_counter()
        while not self._over.is_set():
            thread = threading.Thread(target=self._ask_round)
            thread.start()
            self._rounds.append(thread)
            next_round += self._round_seconds
            self._over.wait(next_round - time.perf_counter())

    def _ask_round(self) -> None:
        self.results.append(
            run_load(
                self.stack.channel,
                [gateway_pb2.RecommendRequest(user_id=user_id, count=COUNT) for user_id in self.stack.people],
                rate=self.rate,
                seconds=self._round_seconds,
                timeout_seconds=self.deadline_seconds,
                on_answer=self._take,
            )
        )

    def _take(self, position: int, due: float, latency: float, response: gateway_pb2.RecommendResponse) -> None:
        del position
        self.answers.append(Answered(due, due + latency, response))


def start_all(processes: Sequence[ServiceProcess], lines: Sequence[str], seconds: float = 60.0) -> None:
    """Starts processes at once and waits until all serve; the model server says so in words of its own."""
    said = len(lines)
    for process in processes:
        process.start()
    deadline = time.monotonic() + seconds
    for process in processes:
        while not process.is_serving():
            if process.name == "model_server" and any("serving on" in line for line in lines[said:]):
                break
            process.check_running(deadline)
            time.sleep(0.01)


@contextmanager
def running(folder: Path, published: Store | None = None, candidate_count: int = CANDIDATE_COUNT) -> Iterator[Stack]:
    """Serves a store, a new small one by default, everybody warm: each person has been answered in full."""
    if published is None:
        published = Store(make_store(folder / "store", item_count=ITEM_COUNT, with_models=True).path)
    people = [person.user_id for person in known_people(published, limit=PEOPLE_COUNT, least_count=1)]
    store, generation = published.path, published.current()
    users = folder / "users.sqlite"
    import_histories(users, histories_folder(published, generation))
    models = folder / "models.config"
    models.write_text(model_config_text(published, [generation]), encoding="utf-8")
    ports = {name: free_port() for name in ("model_server", "retrieval", "ranking")}
    address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    lines: list[str] = []

    def write(name: str, line: str) -> None:
        lines.append(f"{name}: {line}")

    def process(module: str, *arguments: str) -> ServiceProcess:
        return ServiceProcess.python(module, *arguments, name=module, on_line=write)

    def service(module: str, port: int, *arguments: str) -> ServiceProcess:
        return process(
            module, "--store", str(store), "--port", str(port), "--metrics-port", "0", "--host", "127.0.0.1", *arguments
        )

    stages = ["--retrieval", address["retrieval"], "--ranking", address["ranking"], "--users", str(users)]

    def make_gateway(environment: dict[str, str]) -> ServiceProcess:
        made = service("gateway", 0, *stages, "--candidate-count", str(candidate_count))
        return ServiceProcess(made.name, made.command, on_line=write, environment=environment)

    processes = {
        "model_server": process("model_server", f"--port={ports['model_server']}", f"--model_config_file={models}"),
        "retrieval": service("retrieval_service", ports["retrieval"]),
        "ranking": service("ranking_service", ports["ranking"], "--model-server", address["model_server"]),
        "gateway": make_gateway({}),
    }
    try:
        start_all(list(processes.values()), lines)
        with grpc.insecure_channel(str(processes["gateway"].announcement["address"])) as channel:
            stack = Stack(processes, people, lines, channel, make_gateway)
            stack.warm_up()
            yield stack
    finally:
        for each in processes.values():
            if each.pid and each.exit_code() is None:
                # One that hangs does not end.
                os.kill(each.pid, signal.SIGCONT)
            each.terminate()
        for each in processes.values():
            each.wait_stopped()
