"""Measures one recommendation over gRPC against the floor, in one run: ``python -m benchmarks --store DIR``."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.floor_process import measure_floor
from benchmarks.process_usage import cpu_seconds, resident_megabytes
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.stack import Ports, Stack
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

FLOOR_TIMES_WALL = 5.0
FLOOR_TIMES_CPU = 4.0
RESIDENT_MEGABYTES = {"gateway": 90.0, "retrieval": 140.0, "ranking": 120.0}
SERVING_SECONDS = 2.0


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--requests", "request_count", default=2000, show_default=True, help="Measured requests, one at a time.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table as Markdown.")
def main(store_path: Path, request_count: int, out: Path | None) -> None:
    """Floor and system, same bundle, same people, one after the other and the floor once more."""
    console = Console()
    before = measure_floor(store_path, request_count)
    system = _system(store_path, request_count, console)
    after = measure_floor(store_path, request_count)
    # The machine's speed drifts: the floor is the mean of a run before and a run after.
    floor = {part: {unit: (before[part][unit] + after[part][unit]) / 2 for unit in before[part]} for part in before}
    rows = _rows(floor, system)
    table = Table("figure", "measured", "times the floor", "aim")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if out:
        lines = ["| figure | measured | times the floor | aim |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _system(store_path: Path, request_count: int, console: Console) -> dict[str, Any]:
    store = Store(store_path)
    with tempfile.TemporaryDirectory() as folder:
        ports = Ports.free()
        stack = Stack(
            store,
            ports=ports,
            users=Path(folder) / "users.sqlite",
            on_line=lambda *_: None,
            say=console.print,
            restart=False,
        )
        try:
            stack.import_histories()
            stack.start(120)
            measured = _load(store, stack, request_count)
            return {**measured, "serving_seconds": _restart(stack)}
        finally:
            stack.stop()


def _restart(stack: Stack) -> dict[str, float]:
    """Seconds from start to SERVING of each of our servers, started alone while the others serve."""
    seconds = {}
    for child in (*stack.retrieval, stack.ranking, stack.gateway):
        child.terminate()
        child.wait_stopped()
        child.start()
        child.wait_serving()
        seconds[child.name] = time.monotonic() - child.started_at
    return seconds


def _load(store: Store, stack: Stack, request_count: int) -> dict[str, Any]:
    people = [person.user_id for person in known_people(store, limit=300, least_count=5)]
    address = f"127.0.0.1:{stack.ports.gateway}"
    with grpc.insecure_channel(address) as channel:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        requests = [gateway_pb2.RecommendRequest(user_id=user, count=20) for user in people]
        for request in requests:
            stub.Recommend(request, timeout=5)
        walls = np.empty(request_count)
        rungs: dict[str, int] = {}
        stages: dict[str, list[float]] = {}
        used = {child.name: cpu_seconds(child.pid) for child in stack.children}
        started_cpu = time.process_time()
        for position in track(range(request_count), "asking, one at a time", transient=True):
            request = requests[position % len(requests)]
            started = time.perf_counter()
            response = stub.Recommend(request, timeout=5)
            walls[position] = time.perf_counter() - started
            rung = gateway_pb2.Rung.Name(response.rung)
            rungs[rung] = rungs.get(rung, 0) + 1
            for timing in response.timings:
                stages.setdefault(f"{timing.stage}", []).append(timing.compute_ms)
                if timing.transport_ms:
                    stages.setdefault(f"{timing.stage} transport", []).append(timing.transport_ms)
        client_ms = (time.process_time() - started_cpu) / request_count * 1e3
        cpu_ms = {
            child.name: (cpu_seconds(child.pid) - used[child.name]) / request_count * 1e3 for child in stack.children
        }
    resident = {child.name: resident_megabytes(child.pid, store.path) for child in stack.children}
    return {
        "walls": walls * 1e3,
        "cpu_ms": cpu_ms,
        "client_cpu_ms": client_ms,
        "rungs": rungs,
        "resident": resident,
        "stages": {name: float(np.median(values)) for name, values in stages.items()},
    }


def _rows(floor: dict[str, dict[str, float]], system: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    whole = floor["whole"]
    p50, p99 = np.percentile(system["walls"], [50, 99])
    total_cpu = sum(system["cpu_ms"].values())
    real = " (tensorflow_model_server)" if shutil.which("tensorflow_model_server") else " (embedded)"
    rows = [
        ("machine", f"{os.cpu_count()} cores, Python {platform.python_version()}", "", ""),
        ("rungs", ", ".join(f"{name} {count}" for name, count in system["rungs"].items()), "", "all RUNG_FULL"),
        ("floor, wall p50", f"{whole['wall_ms']:.2f} ms", "1.0", ""),
        ("floor, CPU", f"{whole['cpu_ms']:.2f} ms", "1.0", ""),
        *((f"floor: {name}", f"{floor[name]['wall_ms']:.3f} ms", "", "") for name in ("user_tower", "index", "ranker")),
        (
            "Recommend 20 of 500, wall p50",
            f"{p50:.2f} ms",
            f"{p50 / whole['wall_ms']:.1f}",
            f"<= {FLOOR_TIMES_WALL:g}",
        ),
        ("Recommend, wall p99", f"{p99:.2f} ms", "", ""),
        (
            "CPU of all servers, a request",
            f"{total_cpu:.2f} ms",
            f"{total_cpu / whole['cpu_ms']:.1f}",
            f"<= {FLOOR_TIMES_CPU:g}",
        ),
    ]
    for name, milliseconds in system["cpu_ms"].items():
        label = f"CPU: {name}{real if name == 'model server' else ''}"
        rows.append((label, f"{milliseconds:.2f} ms", f"{milliseconds / whole['cpu_ms']:.1f}", ""))
    rows.append(("CPU: the client", f"{system['client_cpu_ms']:.2f} ms", "", ""))
    rows += [(f"stage: {name}", f"{value:.3f} ms", "", "") for name, value in system["stages"].items()]
    rows += [
        (f"resident beyond the bundle: {name}", f"{system['resident'][name]:.0f} MB", "", f"<= {aim:g} MB")
        for name, aim in RESIDENT_MEGABYTES.items()
    ]
    rows += [
        (f"start to SERVING: {name}", f"{seconds:.2f} s", "", f"<= {SERVING_SECONDS:g} s")
        for name, seconds in system["serving_seconds"].items()
    ]
    return rows


if __name__ == "__main__":
    main()
