"""Losing one of two replicas under steady load: ``python -m benchmarks.replicas --store DIR``."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.generations.model_config import model_config_text
from twostage.load.open_loop import run_load
from twostage.model_server_process import model_server_process
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2

AIM = 2.0
"""The p99 while a replica is gone against the p99 before."""

_COUNT = 20
_SETTLING_SECONDS = 3.0
_START_SECONDS = 120.0
# How long a server may take to serve again, during which requests go on.
_RESTART_ALLOWANCE_SECONDS = 15.0


@dataclass
class Answers:
    """What came back.

    Args:
        due: Moments, of ``time.perf_counter``.
        latencies: Seconds.
        rungs: On which each answer stands.
        wrong: What was not as it should be.
    """

    due: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    rungs: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, _position: int, due: float, latency: float, answer: gateway_pb2.RecommendResponse) -> None:
        """Keeps an answer's figures."""
        self.due.append(due)
        self.latencies.append(latency)
        self.rungs.append(answer.rung)
        if len(answer.recommendations) + answer.shortfall.missing_count != _COUNT:
            self.wrong.append(f"{len(answer.recommendations)} items instead of {_COUNT}")
        if answer.rung != gateway_pb2.RUNG_FULL:
            self.wrong.append(f"{gateway_pb2.Rung.Name(answer.rung)}: {answer.rung_reason}")


@dataclass
class Fleet:
    """Two replicas of each service behind one gateway; each ranking has a model server of its own."""

    pairs: dict[str, list[ServiceProcess]]
    addresses: dict[ServiceProcess, str]
    gateway: ServiceProcess

    def is_up(self, process: ServiceProcess) -> bool:
        """Whether a server takes requests; a model server says so by listening."""
        if process not in self.pairs["model server"]:
            return process.is_serving()
        host, port = self.addresses[process].split(":")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((host, int(port))) == 0

    def wait_up(self, *processes: ServiceProcess) -> None:
        """Waits until they take requests."""
        deadline = time.monotonic() + _START_SECONDS
        for process in processes:
            while not self.is_up(process):
                process.check_running(deadline)
                time.sleep(0.02)


@contextmanager
def _serving(store: Store, folder: Path) -> Iterator[Fleet]:
    number = store.current()
    ports = iter(_free_ports(7))
    addresses: dict[ServiceProcess, str] = {}

    def service(module: str, *arguments: str) -> ServiceProcess:
        port = next(ports)
        fixed = ["--store", str(store.path), "--port", str(port), "--metrics-port", "0"]
        process = ServiceProcess.python(module, *fixed, *arguments, name=module, on_line=lambda *_: None)
        addresses[process] = f"127.0.0.1:{port}"
        return process

    def model_server(name: str) -> ServiceProcess:
        port = next(ports)
        # A file each: a ranking writes into it which versions it needs.
        config = folder / f"{name}.config"
        config.write_text(model_config_text(store, [number]), encoding="utf-8")
        process = model_server_process(config, port, lambda *_: None)
        addresses[process] = f"127.0.0.1:{port}"
        return process

    model_servers = [model_server(name) for name in ("first", "second")]
    retrieval = [service("retrieval_service") for _ in range(2)]
    ranking = [service("ranking_service", "--model-server", addresses[each]) for each in model_servers]
    targets = [
        *("--retrieval", ",".join(addresses[each] for each in retrieval)),
        *("--ranking", ",".join(addresses[each] for each in ranking)),
        *("--users", str(folder / "users.sqlite")),
    ]
    gateway = service("gateway", *targets)
    fleet = Fleet({"retrieval": retrieval, "ranking": ranking, "model server": model_servers}, addresses, gateway)
    everybody = [*model_servers, *retrieval, *ranking, gateway]
    try:
        for process in everybody:
            process.start()
        fleet.wait_up(*everybody)
        yield fleet
    finally:
        for process in everybody:
            process.terminate()
        for process in everybody:
            process.wait_stopped()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rate", default=60.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=15.0, show_default=True, help="Of each span: before, while it is gone, after.")
@click.option("--stop", is_flag=True, help="Stop the replica (SIGSTOP) and continue it instead of killing it.")
def main(store_path: Path, rate: float, seconds: float, stop: bool) -> None:
    """Kill one of two replicas of retrieval, then of ranking, then of the model server, and look at every answer.

    Each is started again after a span and watched for another one. Requests leave on schedule, and latencies count from
    when they were due.
    """
    console = Console()
    store = Store(store_path)
    with tempfile.TemporaryDirectory() as folder, _serving(store, Path(folder)) as fleet:
        _measure(store, fleet, console, rate=rate, seconds=seconds, stop=stop)


def _measure(store: Store, fleet: Fleet, console: Console, *, rate: float, seconds: float, stop: bool) -> None:
    people = known_people(store, limit=300, least_count=5)
    requests = [gateway_pb2.RecommendRequest(recent_item_ids=person.item_ids[-20:], count=_COUNT) for person in people]
    total_seconds = _SETTLING_SECONDS + seconds + len(fleet.pairs) * (2 * seconds + _RESTART_ALLOWANCE_SECONDS)
    answers = Answers()
    spans: list[tuple[str, float, float]] = []
    failed: list[BaseException] = []

    def lose_one_after_the_other() -> None:
        try:
            time.sleep(_SETTLING_SECONDS)
            _wait(spans, "before", seconds)
            for name, (first, _) in fleet.pairs.items():
                os.kill(first.pid, signal.SIGSTOP if stop else signal.SIGKILL)
                _wait(spans, f"one {name} {'stopped' if stop else 'killed'}", seconds)
                if stop:
                    os.kill(first.pid, signal.SIGCONT)
                else:
                    first.wait_stopped()
                    first.start()
                    fleet.wait_up(first)
                _wait(spans, f"{name} {'continued' if stop else 'started again'}", seconds)
        except BaseException as error:  # noqa: BLE001 - told when the load is over
            failed.append(error)

    script = threading.Thread(target=lose_one_after_the_other)
    with grpc.insecure_channel(fleet.addresses[fleet.gateway]) as channel, Progress(transient=True) as progress:
        task = progress.add_task("asking", total=round(rate * total_seconds))
        script.start()
        result = run_load(
            channel,
            requests,
            rate=rate,
            seconds=total_seconds,
            timeout_seconds=2.0,
            on_progress=lambda sent: progress.update(task, completed=sent),
            on_answer=answers.take,
        )
        script.join()
    if failed:
        raise failed[0]
    _print(console, answers, result.errors, spans)


def _wait(spans: list[tuple[str, float, float]], name: str, seconds: float) -> None:
    began = time.perf_counter()
    time.sleep(seconds)
    spans.append((name, began, time.perf_counter()))


def _print(console: Console, answers: Answers, errors: dict[str, int], spans: list[tuple[str, float, float]]) -> None:
    due, latencies = np.array(answers.due), np.array(answers.latencies) * 1e3
    full = np.array(answers.rungs) == gateway_pb2.RUNG_FULL
    table = Table("span", "answers", "FULL", "p50 ms", "p99 ms", "max ms", "p99, times before")
    before = None
    for name, start, stop in spans:
        inside = (due >= start) & (due < stop)
        if not inside.any():
            raise click.ClickException(f"no answers in the span {name!r}")
        p50, p99 = np.percentile(latencies[inside], [50, 99])
        before = p99 if before is None else before
        table.add_row(
            name,
            str(inside.sum()),
            f"{full[inside].mean():.2%}",
            f"{p50:.2f}",
            f"{p99:.2f}",
            f"{latencies[inside].max():.2f}",
            f"{p99 / before:.2f}",
        )
    console.print(table)
    console.print(
        f"aim: no failed request, and <= {AIM:g} times; {len(latencies)} answers, {full.mean():.3%} of them FULL, "
        f"errors {errors or 'none'}"
    )
    for line in sorted(set(answers.wrong))[:8]:
        console.print(f"{answers.wrong.count(line)} times {line}")
    if errors or any("instead of" in line for line in answers.wrong):
        raise click.ClickException(f"{sum(errors.values())} errors")


if __name__ == "__main__":
    main()
