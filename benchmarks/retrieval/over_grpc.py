"""Retrieve over gRPC against the search alone, and requests a second: ``python -m benchmarks.retrieval.over_grpc``.

A real server over a real store, asked by one client at a time; the search alone runs in a process of its own over the
same files and for the same people. Both take turns. Then several clients, each a process with a connection, ask again
as soon as they are answered; they share the cores with the server, so its CPU for a request is shown beside the rate.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.process_usage import cpu_seconds
from benchmarks.retrieval.told_process import ToldProcess
from twostage.bundle.store import Store
from twostage.processes import ChildFailedError, ServiceProcess

_TIMES_SEARCH = 1.8
_START_SECONDS = 120.0
_STEPS = ("search", "tower", "engine")


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--count", default=500, show_default=True, help="Candidates asked for.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--requests", default=1000, show_default=True, help="In each round.")
@click.option("--callers", default="4,8", show_default=True, help="Clients of the closed loop.")
@click.option("--processes", default="1,2", show_default=True, help="Of the server in the closed loop.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each closed loop.")
@click.option("--out", type=click.Path(path_type=Path), help="Write JSON to this folder.")
def main(
    store_path: Path,
    count: int,
    rounds: int,
    requests: int,
    callers: str,
    processes: str,
    seconds: float,
    out: Path | None,
) -> None:
    """Measures the server that a store's current generation is served by."""
    console = Console(width=max(100, Console().width))
    manifest = Store(store_path).open().manifest
    index = manifest.tower.index.factory
    console.print(f"{manifest.item_count:,} items, {index}, {os.cpu_count()} cores, {count} candidates a request")
    single = _one_at_a_time(store_path, count, rounds, requests)
    console.print(_single_table(single))
    loops = [
        _closed_loop(store_path, count, int(process_count), int(caller_count), seconds)
        for process_count in processes.split(",")
        for caller_count in callers.split(",")
    ]
    console.print(_loop_table(loops))
    times = _times_search(single)
    verdict = "reached" if times <= _TIMES_SEARCH else "missed"
    console.print(f"{verdict}: {times:.2f} times the search alone, at most {_TIMES_SEARCH:g} aimed at")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        document = {
            "item_count": manifest.item_count,
            "index": index,
            "core_count": os.cpu_count(),
            "count": count,
            "cpu_ms_by_round": single,
            "times_search": times,
            "closed_loops": loops,
        }
        (out / "over_grpc.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _server(store: Path, process_count: int) -> Iterator[ServiceProcess]:
    flags = ("--store", str(store), "--port", "0", "--metrics-port", "0", "--processes", str(process_count))
    service = ServiceProcess.python("retrieval_service", *flags, name="retrieval", on_line=lambda *_: None)
    service.start()
    try:
        service.wait_serving(_START_SECONDS)
        yield service
    except ChildFailedError as error:
        raise click.ClickException(str(error)) from None
    finally:
        service.terminate()
        service.wait_stopped()


def _caller(store: Path, service: ServiceProcess, count: int, number: int) -> ToldProcess:
    arguments = ["--store", str(store), "--address", str(service.announcement["address"])]
    # Clients begin with different people.
    arguments += ["--count", str(count), "--first", str(61 * number)]
    return ToldProcess(f"client {number}", "benchmarks.retrieval.retrieve_caller", arguments)


def _used(service: ServiceProcess) -> float:
    """CPU seconds of the server, its workers included."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text(encoding="utf-8").split()
    return sum(cpu_seconds(pid) for pid in (service.pid, *map(int, children)))


def _one_at_a_time(store: Path, count: int, rounds: int, requests: int) -> dict[str, list[float]]:
    """Milliseconds of CPU by what was done, for each round."""
    cpu: dict[str, list[float]] = {name: [] for name in (*_STEPS, "server", "wall")}
    with ExitStack() as stack:
        service = stack.enter_context(_server(store, 1))
        client = stack.enter_context(_caller(store, service, count, 0))
        arguments = ["--store", str(store), "--count", str(count)]
        alone = stack.enter_context(ToldProcess("alone", "benchmarks.retrieval.in_process", arguments))
        for _ in track(range(rounds), "one at a time", transient=True):
            for step in _STEPS:
                cpu[step].append(alone.ask(do=step, times=requests)["cpu_ms"])
            before = _used(service)
            taken = client.ask(requests=requests)["milliseconds"]
            cpu["server"].append((_used(service) - before) / requests * 1e3)
            cpu["wall"].append(float(np.median(taken)))
    return cpu


def _times_search(cpu: dict[str, list[float]]) -> float:
    return float(np.median(np.array(cpu["server"]) / np.array(cpu["search"])))


def _closed_loop(store: Path, count: int, process_count: int, caller_count: int, seconds: float) -> dict[str, Any]:
    with ExitStack() as stack:
        service = stack.enter_context(_server(store, process_count))
        clients = [stack.enter_context(_caller(store, service, count, number)) for number in range(caller_count)]
        before, started = _used(service), time.perf_counter()
        for client in clients:
            client.tell(seconds=seconds)
        taken = np.concatenate([client.answer()["milliseconds"] for client in clients])
        wall, used = time.perf_counter() - started, _used(service) - before
    return {
        "process_count": process_count,
        "caller_count": caller_count,
        "requests_per_second": len(taken) / wall,
        "cpu_ms": used / len(taken) * 1e3,
        "cores": used / wall,
        "p50_ms": float(np.percentile(taken, 50)),
        "p99_ms": float(np.percentile(taken, 99)),
    }


def _single_table(cpu: dict[str, list[float]]) -> Table:
    names = {
        "search": "CPU of the search alone",
        "tower": "CPU of the user tower alone",
        "engine": "CPU of the engine without a server: tower, search, blend",
        "server": "CPU of the server, a request over gRPC",
        "wall": "a request as the client sees it, median",
    }
    table = Table("one request at a time", "ms", "times the search")
    for name, label in names.items():
        times = float(np.median(np.array(cpu[name]) / np.array(cpu["search"])))
        table.add_row(label, f"{np.median(cpu[name]):.3f}", f"{times:.2f}")
    return table


def _loop_table(loops: list[dict[str, Any]]) -> Table:
    table = Table("server processes", "callers", "requests/s", "server CPU, ms", "cores it used", "p50, ms", "p99, ms")
    for one in loops:
        counts = (f"{one['process_count']}", f"{one['caller_count']}", f"{one['requests_per_second']:.0f}")
        rest = (one[name] for name in ("cpu_ms", "cores", "p50_ms", "p99_ms"))
        table.add_row(*counts, *(f"{figure:.2f}" for figure in rest))
    return table


if __name__ == "__main__":
    main()
