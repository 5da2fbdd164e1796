"""How soon an event shows in the next answer: ``python -m benchmarks.event_to_visible``.

A gateway process, real sockets and a new store of popular items, once with a SQLite file and once with Redis, which it
starts by itself. Somebody records an event about the first item of their last answer and asks again: the item must be
gone. The time is that of both calls together. The stages are not there, so that the store's part is not lost in theirs;
``--store`` measures with all of them, from a store that ``twostage train`` made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bundles import make_store
from tests.ports import free_port, listens
from twostage.bundle.store import Store
from twostage.client import Client, new_event
from twostage.processes import ServiceProcess
from twostage.stack import Ports, Stack

P99_MILLISECONDS = 20.0


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), help="Measure with all stages.")
@click.option("--events", "event_count", default=500, show_default=True, help="Events by each person.")
@click.option("--people", "people_count", default=4, show_default=True, help="People at the same time.")
@click.option("--history", "history_count", default=200, show_default=True, help="Events of each before the start.")
@click.option("--appendfsync", default="everysec", show_default=True, help="What Redis's log waits for.")
def main(store_path: Path | None, event_count: int, people_count: int, history_count: int, appendfsync: str) -> None:
    """Measure RecordEvents and the next Recommend together, with each user store."""
    console = Console()
    table = Table("user store", "events", "p50 ms", "p95 ms", "p99 ms", "most ms", "record p50", "recommend p50")
    worst = 0.0
    for name in ("SQLite", "Redis"):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="visible-")))
            if name == "Redis":
                if shutil.which("redis-server") is None:
                    console.print("Redis is left out: redis-server is not installed")
                    continue
                users: str = stack.enter_context(_redis(folder, appendfsync))
            else:
                users = str(folder / "users.sqlite")
            address = stack.enter_context(_stack(store_path, users) if store_path else _gateway(folder, users))
            milliseconds = _measure(address, people_count, event_count, history_count)
        p50, p95, p99 = np.percentile(milliseconds.sum(axis=1), [50, 95, 99])
        record, recommend = np.median(milliseconds, axis=0)
        worst = max(worst, float(p99))
        figures = (p50, p95, p99, milliseconds.sum(axis=1).max(), record, recommend)
        table.add_row(name, str(len(milliseconds)), *(f"{figure:.2f}" for figure in figures))
    console.print(table)
    if worst > P99_MILLISECONDS:
        console.print(f"p99 is above {P99_MILLISECONDS:g} ms")
        sys.exit(1)


def _measure(address: str, people_count: int, event_count: int, history_count: int) -> np.ndarray:
    """Milliseconds of RecordEvents and of Recommend, float64[events, 2]."""
    measured: list[tuple[float, float]] = []
    faults: list[BaseException] = []

    def live(person: str) -> None:
        try:
            with Client(address, timeout_seconds=10) as client:
                # Items enough that they never run out: what was seen comes back with a new person.
                for start in range(0, event_count, 100):
                    _live_once(client, f"{person}-{start}", min(100, event_count - start), history_count, measured)
        except BaseException as fault:  # noqa: BLE001 - raised by the caller's own thread
            faults.append(fault)

    threads = [threading.Thread(target=live, args=(f"person-{number}",)) for number in range(people_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return np.array(measured)


def _live_once(
    client: Client, person: str, event_count: int, history_count: int, measured: list[tuple[float, float]]
) -> None:
    answer = client.recommend(person, count=20)
    action = "to_read"
    if history_count:
        # The same item again and again: a history as long as asked for that hides one item.
        last = answer.recommendations[-1].item_id
        client.record([new_event(person, last, action) for _ in range(history_count)])
    for _ in range(event_count):
        item_id = answer.recommendations[0].item_id
        event = new_event(person, item_id, action)
        start = time.perf_counter()
        accepted = client.record([event])
        recorded = time.perf_counter()
        answer = client.recommend(person, count=20)
        answered = time.perf_counter()
        assert accepted.accepted_count == 1, accepted
        assert item_id not in {each.item_id for each in answer.recommendations}, "the event is not visible"
        measured.append(((recorded - start) * 1000, (answered - recorded) * 1000))


@contextmanager
def _redis(folder: Path, appendfsync: str) -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--appendonly", "yes", "--appendfsync", appendfsync], stdout=log, stderr=log
        )
    try:
        while not listens(f"127.0.0.1:{port}"):
            if process.poll() is not None:
                raise SystemExit((folder / "redis.log").read_text())
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextmanager
def _gateway(folder: Path, users: str) -> Iterator[str]:
    store = make_store(folder / "store", item_count=2_000).path
    nobody = f"127.0.0.1:{free_port()}"
    gateway = ServiceProcess.python(
        "gateway",
        *("--store", str(store), "--port", "0", "--metrics-port", "0", "--users", users),
        *("--retrieval", nobody, "--ranking", nobody),
        name="gateway",
        on_line=lambda *_: None,
    )
    gateway.start()
    try:
        gateway.wait_serving()
        yield str(gateway.announcement["address"])
    finally:
        gateway.terminate()
        gateway.wait_stopped()


@contextmanager
def _stack(store_path: Path, users: str) -> Iterator[str]:
    stack = Stack(Store(store_path), ports=Ports.free(), users=users, on_line=lambda *_: None, say=print)
    try:
        stack.start()
        yield stack.listeners["gateway"].address
    finally:
        stack.stop()


if __name__ == "__main__":
    main()
