"""What each process spends on a Recommend, in one checkout or several by turns.

``python -m benchmarks.hop_cost --store STORE --code before=DIR --code after=DIR``

Each checkout serves the same store by processes of its own, all at the same time. They are asked in short blocks by
turns, one request at a time, so that a change of the machine's speed meets all of them alike; what counts is the
median of the blocks' ratios to the first checkout. Processor time is read in nanoseconds from ``schedstat`` (Linux);
wakes are what the threads slept and were woken for, each of which costs some microseconds and cold caches.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import click
import grpc
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

_WARM_COUNT = 20


class Used(NamedTuple):
    """What a process used since it started.

    Args:
        milliseconds: Of processor time, all threads that live.
        wake_count: How often they slept and were woken.
    """

    milliseconds: float
    wake_count: float


@dataclass
class Arm:
    """One checkout that is asked.

    Args:
        name: Its name in the table.
        stub: Asks its gateway.
        processes: Its servers' ids, by name.
        blocks: Of each block and server, the milliseconds and wakes a request.
        walls: Of each block, the median milliseconds that a caller waited.
    """

    name: str
    stub: gateway_pb2_grpc.RecommendationServiceStub
    processes: dict[str, int]
    blocks: dict[str, list[Used]] = field(default_factory=dict)
    walls: list[float] = field(default_factory=list)


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--code", "codes", multiple=True, metavar="NAME=DIR", help="A checkout; this one when none is named.")
@click.option("--blocks", "block_count", default=12, show_default=True, help="Blocks of each checkout.")
@click.option("--requests", "request_count", default=100, show_default=True, help="Requests of a block.")
def main(store_path: Path, codes: Sequence[str], block_count: int, request_count: int) -> None:
    """Processor time and wakes a request, by process and checkout."""
    folders = dict(code.split("=", 1) for code in codes) or {"this": str(Path.cwd())}
    people = [person.user_id for person in known_people(Store(store_path), limit=300, least_count=5)]
    requests = [gateway_pb2.RecommendRequest(user_id=user, count=20) for user in people]
    with ExitStack() as opened:
        arms = [opened.enter_context(_arm(name, Path(folder), store_path)) for name, folder in folders.items()]
        for arm in arms:
            for request in requests:
                arm.stub.Recommend(request, timeout=5)
        for block in track(range(block_count), "asking by turns", transient=True):
            for arm in random.sample(arms, len(arms)):
                _ask(arm, requests, block * request_count, request_count)
    Console().print(_table(arms))


@contextmanager
def _arm(name: str, folder: Path, store: Path) -> Iterator[Arm]:
    """Serves a checkout by a process of its own, whose modules are that checkout's."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(store.resolve())],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder.resolve())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        told = holder.stdout.readline()
        if not told:
            raise click.ClickException(f"{name}: {folder} did not serve")
        serving = json.loads(told)
        with grpc.insecure_channel(f"127.0.0.1:{serving['port']}") as channel:
            yield Arm(name, gateway_pb2_grpc.RecommendationServiceStub(channel), serving["processes"])
    finally:
        # It stops its servers when nobody holds the other end any more.
        holder.stdin.close()
        holder.wait(60)


# Runs in the other checkout, so it uses nothing but what has long been there.
_HOLD = """
import json, sys, tempfile
from pathlib import Path
from twostage.bundle.store import Store
from twostage.stack import Ports, Stack
with tempfile.TemporaryDirectory() as folder:
    ports = Ports.free()
    say = lambda *line: print(*line, file=sys.stderr)
    stack = Stack(Store(Path(sys.argv[1])), ports=ports, users=Path(folder) / "users.sqlite", on_line=say, say=say,
                  restart=False)
    try:
        stack.import_histories()
        stack.start(120)
        processes = {child.name: child.pid for child in stack.children}
        print(json.dumps({"port": ports.gateway, "processes": processes}), flush=True)
        sys.stdin.read()
    finally:
        stack.stop()
"""


def _ask(arm: Arm, requests: Sequence[gateway_pb2.RecommendRequest], first: int, count: int) -> None:
    """One block; the first requests after the others' turn find cold caches and are not measured."""
    for request in requests[:_WARM_COUNT]:
        arm.stub.Recommend(request, timeout=5)
    before = {name: used(process) for name, process in arm.processes.items()}
    walls = np.empty(count)
    for position in range(count):
        began = time.perf_counter()
        response = arm.stub.Recommend(requests[(first + position) % len(requests)], timeout=5)
        walls[position] = time.perf_counter() - began
        if response.rung != gateway_pb2.RUNG_FULL:
            raise click.ClickException(f"{arm.name}: expected RUNG_FULL, received {response.rung_reason}")
    for name, process in arm.processes.items():
        now, then = used(process), before[name]
        arm.blocks.setdefault(name, []).append(
            Used((now.milliseconds - then.milliseconds) / count, (now.wake_count - then.wake_count) / count)
        )
    arm.walls.append(float(np.median(walls)) * 1e3)


def used(process: int) -> Used:
    """What a process's threads used until now; a thread that ended takes its part with it."""
    nanoseconds = wakes = 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        try:
            nanoseconds += int((thread / "schedstat").read_text(encoding="utf-8").split()[0])
            status = (thread / "status").read_text(encoding="utf-8")
        except OSError:
            continue
        wakes += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return Used(nanoseconds / 1e6, wakes)


def _table(arms: Sequence[Arm]) -> Table:
    table = Table("milliseconds of CPU a request", *(arm.name for arm in arms))
    names = list(arms[0].processes)
    spent = {arm.name: {name: [each.milliseconds for each in arm.blocks[name]] for name in names} for arm in arms}
    first = arms[0].name
    for name in names:
        cells = []
        for arm in arms:
            wakes = np.median([each.wake_count for each in arm.blocks[name]])
            cells.append(f"{_cell(spent[arm.name][name], spent[first][name])}, {wakes:.1f} wakes")
        table.add_row(name, *cells)
    sums = {arm.name: [sum(block) for block in zip(*spent[arm.name].values(), strict=True)] for arm in arms}
    table.add_row("all", *(_cell(sums[arm.name], sums[first]) for arm in arms))
    table.add_row("waited", *(_cell(arm.walls, arms[0].walls) for arm in arms))
    return table


def _cell(values: Sequence[float], first: Sequence[float]) -> str:
    ratio = float(np.median(np.array(values) / np.array(first)))
    return f"{np.median(values):.2f} (x {ratio:.3f})"


if __name__ == "__main__":
    main()
