"""What logging costs the gateway: ``python -m benchmarks.logging_cost --store DIR [--experiments FILE]``.

Gateways that log, that do not, and that have experiments stand before the same stages. They are asked in turns, a block
of requests each, so that whatever else the machine does falls on all of them alike. What is compared is the CPU time of
each gateway's process, all of its threads, by the kernel's own clock of it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import click
import grpc
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.impressions.log import open_log
from twostage.impressions.user_key import make_secret
from twostage.processes import ServiceProcess
from twostage.stack import Ports, Stack
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

AIM = 0.05
"""Logging and experiments together may cost this part of a request's CPU time."""


@dataclass
class Gateway:
    """One of the gateways.

    Args:
        process: Its process.
        at_turns: CPU seconds when each of its turns began, and at the end.
        microseconds: CPU a request, turn by turn, without the first two.
    """

    process: ServiceProcess
    at_turns: list[float] = field(default_factory=list)
    microseconds: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """User and system time of all its threads since it started."""
        return _cpu_seconds(self.process)


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--experiments", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--blocks", default=30, show_default=True, help="Of each gateway.")
@click.option("--requests", "request_count", default=200, show_default=True, help="In a block.")
@click.option("--candidates", default=0, show_default=True, help="Candidates logged with each answer.")
def main(store_path: Path, experiments: Path | None, blocks: int, request_count: int, candidates: int) -> None:
    """Measure CPU a request of gateways with and without a log, and with experiments where a file is given."""
    console = Console()
    store = Store(store_path)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        make_secret(folder / "key")
        stack = Stack(
            store,
            ports=Ports.free(),
            users=folder / "users.sqlite",
            on_line=lambda *_: None,
            say=console.print,
            restart=False,
        )
        logging: tuple[str, ...] = ("--impressions", str(folder / "log"), "--impressions-key-file", str(folder / "key"))
        logging += ("--impressions-candidates", str(candidates))
        flags = {"logging": logging}
        if experiments is not None:
            flags["logging and experiments"] = (*logging, "--experiments", str(experiments))
        gateways: dict[str, Gateway] = {"neither": Gateway(stack.gateway)}
        try:
            stack.import_histories()
            stack.start(120)
            for name, more in flags.items():
                gateways[name] = Gateway(_gateway(stack, more))
            requests = [
                gateway_pb2.RecommendRequest(user_id=person.user_id, count=20)
                for person in known_people(store, limit=500, least_count=1)
            ]
            stages = (stack.model_server, *stack.retrieval, stack.ranking)
            behind = _measure(gateways, requests, stages, blocks=blocks, request_count=request_count)
        finally:
            for name in flags:
                if name in gateways:
                    gateways[name].process.terminate()
                    gateways[name].process.wait_stopped()
            stack.stop()
        _print(console, gateways, behind, folder / "log")


def _gateway(stack: Stack, more: tuple[str, ...]) -> ServiceProcess:
    process = ServiceProcess.python(
        "gateway",
        *("--store", stack.store.location, "--users", str(stack.users), "--port", "0", "--metrics-port", "0"),
        *("--retrieval", stack.listeners["retrieval"].address, "--ranking", stack.listeners["ranking"].address),
        *more,
        name="gateway",
        on_line=lambda *_: None,
    )
    process.start()
    process.wait_serving()
    return process


def _cpu_seconds(process: ServiceProcess) -> float:
    return time.clock_gettime((~process.pid << 3) | 2)


def _measure(
    gateways: dict[str, Gateway],
    requests: list[gateway_pb2.RecommendRequest],
    stages: Sequence[ServiceProcess],
    *,
    blocks: int,
    request_count: int,
) -> list[float]:
    """Fills in what the gateways used; returns what the stages did, CPU microseconds a request, turn by turn."""
    stubs, behind = {}, []
    for name, gateway in gateways.items():
        channel = grpc.insecure_channel(str(gateway.process.announcement["address"]))
        stubs[name] = gateway_pb2_grpc.RecommendationServiceStub(channel)
    with Progress(transient=True) as progress:
        task = progress.add_task("asking", total=(blocks + 2) * len(gateways))
        for block in range(-2, blocks):
            # Each comes first as often as the others.
            names = list(gateways)
            turn = block % len(names)
            for name in names[turn:] + names[:turn]:
                gateway, stub = gateways[name], stubs[name]
                # From one turn to the next, so that what a log does after its requests counts too.
                gateway.at_turns.append(gateway.cpu_seconds())
                before = sum(map(_cpu_seconds, stages))
                for place in range(request_count):
                    answer = stub.Recommend(requests[place % len(requests)], timeout=5)
                    assert answer.rung == gateway_pb2.RUNG_FULL, answer.rung_reason
                if block >= 0:
                    behind.append((sum(map(_cpu_seconds, stages)) - before) / request_count * 1e6)
                progress.advance(task)
    for gateway in gateways.values():
        gateway.at_turns.append(gateway.cpu_seconds())
        turns = gateway.at_turns[2:]
        gateway.microseconds = [(after - before) / request_count * 1e6 for before, after in pairwise(turns)]
    return behind


def _print(console: Console, gateways: dict[str, Gateway], behind: list[float], log: Path) -> None:
    plain = gateways["neither"].microseconds
    table = Table(
        "gateway",
        "µs a request: median",
        "least tenth",
        "more, µs: median",
        "least tenth",
        "of the gateway",
        "of all servers",
    )
    least_behind = _least_tenth(behind)
    for name, gateway in gateways.items():
        more = [own - other for own, other in zip(gateway.microseconds, plain, strict=True)]
        # What else runs only ever adds to a block, so the least disturbed blocks tell most.
        least, least_plain = _least_tenth(gateway.microseconds), _least_tenth(plain)
        table.add_row(
            name,
            f"{statistics.median(gateway.microseconds):.0f}",
            f"{least:.0f}",
            f"{statistics.median(more):.0f}",
            f"{least - least_plain:.0f}",
            f"{least / least_plain - 1:.1%}",
            f"{(least - least_plain) / (least_plain + least_behind):.1%}",
        )
    console.print(table)
    console.print(f"behind the gateways {least_behind:.0f} µs a request, least tenth")
    written = open_log(log)
    count = written.impression_count()
    size = sum(path.stat().st_size for path in written.impression_files)
    console.print(f"{count:,} answers logged, {size / count:.0f} bytes each; at most {AIM:.0%} are aimed at")


def _least_tenth(numbers: list[float]) -> float:
    return statistics.mean(sorted(numbers)[: max(len(numbers) // 10, 1)])


if __name__ == "__main__":
    main()
