"""Requests a second that the retrieval service answers, by its number of processes, and what they share of memory.

``python -m benchmarks.retrieval.throughput --store DIR``: a closed loop, each client a process of its own with one
connection that asks again as soon as it is answered. Clients and service share the cores, so the service's CPU for a
request says more than the rate: n cores of its own would answer ``n / CPU`` requests a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.process_usage import cpu_seconds
from twostage.bundle.store import Store
from twostage.processes import ServiceProcess, describe_exit
from twostage.rpc.cores import usable_core_count
from twostage.rpc.environment import set_serving_defaults

_CANDIDATE_COUNT = 500
_HISTORY_LENGTH = 20
_WARM_SECONDS = 1.0
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Memory:
    """What one process holds, in megabytes (10^6 bytes).

    Args:
        resident: All its resident pages (RSS).
        proportional: The same, a page that n processes map counted as 1/n (PSS).
        mapped_resident: Its resident pages of the store's files.
        mapped_proportional: Its share of those.
    """

    resident: float
    proportional: float
    mapped_resident: float
    mapped_proportional: float


@dataclass(frozen=True)
class Figures:
    """One run.

    Args:
        process_count: Processes of the service.
        requests_per_second: Answered.
        cpu_ms: CPU of the service for a request, parent and all.
        core_share: How many cores the service kept busy.
        p50_ms: Median seconds from request to answer, as milliseconds.
        p99_ms: The 99th percentile.
        least_share: The part of the service's CPU that its least busy worker used, times the number of workers: 1 when
            all worked alike.
        memory: Of each worker.
    """

    process_count: int
    requests_per_second: float
    cpu_ms: float
    core_share: float
    p50_ms: float
    p99_ms: float
    least_share: float
    memory: tuple[Memory, ...]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval.throughput", description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="a store with a generation")
    parser.add_argument("--processes", default="1,2", help="numbers of processes to compare; 1,2")
    parser.add_argument("--connections", type=int, default=4, help="clients, each with a connection; 4")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each is asked; 10")
    parser.add_argument("--client", metavar="ADDRESS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        set_serving_defaults()
        _ask(arguments.store, arguments.client, arguments.seconds)
        return
    runs = [
        measure(arguments.store, int(count), arguments.connections, arguments.seconds)
        for count in arguments.processes.split(",")
    ]
    _print(runs, arguments.connections)


def measure(store: Path, process_count: int, connection_count: int, seconds: float) -> Figures:
    """Starts the service, has it asked, and stops it.

    Args:
        store: The store; its current generation is served.
        process_count: Processes of the service.
        connection_count: Clients.
        seconds: How long it is asked.
    """
    service = ServiceProcess.python(
        "retrieval_service",
        *("--store", str(store), "--port", "0", "--metrics-port", "0", "--processes", str(process_count)),
        name="retrieval",
        on_line=lambda _name, _line: None,
    )
    service.start()
    try:
        service.wait_serving(_START_SECONDS)
        command = [sys.executable, "-m", "benchmarks.retrieval.throughput", "--store", str(store)]
        command += ["--seconds", str(seconds), "--client", service.announcement["address"]]
        clients = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(connection_count)
        ]
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()  # connected
        workers = _children(service.pid) or [service.pid]
        before = {pid: cpu_seconds(pid) for pid in {service.pid, *workers}}
        started = time.perf_counter()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        latencies = [json.loads(client.communicate()[0]) for client in clients]
        wall = time.perf_counter() - started
        used = {pid: cpu_seconds(pid) - seconds_before for pid, seconds_before in before.items()}
        memory = tuple(_memory(pid, store) for pid in workers)
    finally:
        service.terminate()
        code = service.wait_stopped()
    if code:
        raise SystemExit(f"the service ended with {describe_exit(code)}")
    all_ms = np.concatenate([np.array(each) for each in latencies]) * 1e3
    total = sum(used.values())
    return Figures(
        process_count=process_count,
        requests_per_second=len(all_ms) / wall,
        cpu_ms=total / len(all_ms) * 1e3,
        core_share=total / wall,
        p50_ms=float(np.percentile(all_ms, 50)),
        p99_ms=float(np.percentile(all_ms, 99)),
        least_share=min(used[pid] for pid in workers) / total * len(workers),
        memory=memory,
    )


def _ask(store_path: Path, address: str, seconds: float) -> None:
    """One client: says that it is connected, waits for a line, asks, and prints the seconds of each answer."""
    import grpc  # noqa: PLC0415 - after the environment is set

    from twostage.rpc.channels import channel_options  # noqa: PLC0415
    from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc  # noqa: PLC0415

    generator = np.random.default_rng(os.getpid())
    item_count = Store(store_path).open().manifest.item_count
    requests = [
        retrieval_pb2.RetrieveRequest(
            history=common_pb2.History(rows=generator.choice(item_count, _HISTORY_LENGTH, replace=False).tolist()),
            count=min(_CANDIDATE_COUNT, item_count - _HISTORY_LENGTH),
        )
        for _ in range(200)
    ]
    latencies: list[float] = []
    with grpc.insecure_channel(address, options=channel_options(16 * 2**20, None)) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        warm_until = time.perf_counter() + _WARM_SECONDS
        while time.perf_counter() < warm_until:
            stub.Retrieve(requests[0], timeout=10)
        print("connected", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        before = started
        while before - started < seconds:
            stub.Retrieve(requests[len(latencies) % len(requests)], timeout=10)
            now = time.perf_counter()
            latencies.append(now - before)
            before = now
    print(json.dumps(latencies))


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def _memory(pid: int, store: Path) -> Memory:
    root = str(store.resolve())
    sums = dict.fromkeys(("Rss", "Pss", "mapped Rss", "mapped Pss"), 0)
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if " " in name:
            # The head of a mapping; its fields follow.
            inside = root in line
        elif name in {"Rss", "Pss"}:
            octets = int(rest.split()[0]) * 1024
            sums[name] += octets
            sums[f"mapped {name}"] += octets if inside else 0
    return Memory(*(octets / 1e6 for octets in sums.values()))


def _print(runs: list[Figures], connection_count: int) -> None:
    print(f"{connection_count} connections in a closed loop, {usable_core_count()} cores for clients and service")
    print("processes  requests/s  service CPU  cores busy  p50      p99      least busy worker")
    for run in runs:
        print(
            f"{run.process_count:9}  {run.requests_per_second:10.0f}  {run.cpu_ms:8.3f} ms  {run.core_share:10.2f}  "
            f"{run.p50_ms:5.2f} ms {run.p99_ms:5.2f} ms  {run.least_share:.2f}"
        )
    print("memory, MB                 RSS    PSS    of it mapped: RSS    PSS")
    for run in runs:
        for number, each in enumerate(run.memory, 1):
            print(
                f"{run.process_count:9}  worker {number:2}  {each.resident:10.0f} {each.proportional:6.0f} "
                f"{each.mapped_resident:20.0f} {each.mapped_proportional:6.0f}"
            )


if __name__ == "__main__":
    main()
