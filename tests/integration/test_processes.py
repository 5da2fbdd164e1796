"""Services of several processes: real stores, real processes, real load."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.bundles import make_store
from tests.ports import free_port
from tests.unit.twostage.rpc.test_metrics import read
from twostage.bundle.store import Store
from twostage.rpc.channels import Replicas
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over processes")

REQUEST = retrieval_pb2.RetrieveRequest(history=common_pb2.History(rows=[1, 2, 3]), count=100)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("processes") / "store", item_count=3_000)


@contextmanager
def service(module: str, store: Store, *flags: str, processes: str = "2") -> Iterator[dict[str, Any]]:
    """A service's announcement; it is stopped in the end, in order."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, "--store", str(store.path), "--port", "0", "--processes", processes, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        assert line, child.communicate()[1]
        yield json.loads(line)
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.communicate()


def workers_of(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def kilobytes(pid: int, file: str, field: str) -> int:
    """What a process holds of a mapped file."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(file)
        elif inside and line.startswith(field + ":"):
            total += int(line.split()[1])
    return total


def test_two_retrieval_processes_answer_alike_and_share_the_store_s_pages(store: Store) -> None:
    with service("retrieval_service", store, "--metrics-port", str(free_port())) as announced:
        workers = workers_of(announced["pid"])
        assert len(workers) == 2
        # The parent only looks after them.
        assert not re.search(r"cygrpc|faiss|numpy", mapped(announced["pid"]))
        with Replicas(announced["address"], retrieval_pb2_grpc.RetrievalServiceStub, connection_count=20) as replicas:
            answers = [replicas.pick().stub.Retrieve(REQUEST, timeout=10) for _ in range(40)]
        assert len(answers[0].candidates.rows) == 100
        assert {tuple(answer.candidates.rows) for answer in answers} == {tuple(answers[0].candidates.rows)}
        text = read(announced["metrics_address"])
        assert 'twostage_requests_total{code="OK",method="twostage.v1.RetrievalService/Retrieve"} 40.0' in text
        assert 'twostage_retrieval_candidates_total{source="user_vector"} 4000.0' in text
        assert 'twostage_generation{state="active"} 1.0' in text
        for pid in workers:
            resident, proportional = (kilobytes(pid, "/item_vectors.npy", field) for field in ("Rss", "Pss"))
            # Each page is mapped by both: half of it counts for each.
            assert 0 < proportional <= 0.75 * resident


def test_the_number_of_processes_may_come_from_the_cores(store: Store) -> None:
    # One core to run on: one process, which serves by itself.
    child = subprocess.Popen(
        [
            *("taskset", "-c", str(min(os.sched_getaffinity(0)))),
            *(sys.executable, "-m", "retrieval_service", "--store", str(store.path)),
            *("--port", "0", "--metrics-port", "0", "--processes", "auto"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["pid"] == child.pid
        assert workers_of(child.pid) == []
        assert "cygrpc" in mapped(child.pid)
    finally:
        child.terminate()
        child.communicate(timeout=20)


def thread_seconds(pid: int) -> dict[str, float]:
    """CPU time by thread id."""
    seconds = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        seconds[task.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def test_under_load_no_more_threads_are_busy_than_the_pool_and_the_one_that_feeds_it(store: Store) -> None:
    pool = 2
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    unset = {name: value for name, value in os.environ.items() if name not in variables}
    child = subprocess.Popen(
        [sys.executable, "-m", "retrieval_service", "--store", str(store.path), "--port", "0", "--metrics-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**unset, "TWOSTAGE_RETRIEVAL_MAX_WORKERS": str(pool)},
    )
    done = threading.Event()
    try:
        assert child.stdout is not None
        address = json.loads(child.stdout.readline())["address"]
        with grpc.insecure_channel(address) as channel:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)

            def ask() -> None:
                while not done.is_set():
                    stub.Retrieve(REQUEST, timeout=10)

            clients = [threading.Thread(target=ask) for _ in range(6)]
            for client in clients:
                client.start()
            time.sleep(0.3)
            before = thread_seconds(child.pid)
            time.sleep(1.5)
            after = thread_seconds(child.pid)
            done.set()
            for client in clients:
                client.join()
        used = {task: after[task] - before.get(task, 0.0) for task in after}
        total = sum(used.values())
        assert total > 0.1
        busy = [task for task, seconds in used.items() if seconds > 0.05 * total]
        # One more: gRPC's own, which takes requests off the sockets and hands them to the pool.
        assert 1 <= len(busy) <= pool + 1, used
    finally:
        done.set()
        child.terminate()
        child.communicate(timeout=20)


def test_every_library_of_a_serving_process_keeps_to_one_thread() -> None:
    code = """if True:
        from twostage.rpc.environment import set_serving_defaults
        set_serving_defaults()
        import json, numpy, threadpoolctl
        import retrieval_service.server
        print(json.dumps([[pool["filepath"], pool["num_threads"]] for pool in threadpoolctl.threadpool_info()]))
    """
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    unset = {name: value for name, value in os.environ.items() if name not in variables}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=unset)
    pools = json.loads(ended.stdout.splitlines()[-1])
    # NumPy's and FAISS's.
    assert len(pools) >= 2
    assert {count for _, count in pools} == {1}, pools


def test_what_one_gateway_process_records_the_other_reads(store: Store, tmp_path: Path) -> None:
    flags = ("--users", str(tmp_path / "users.sqlite"), "--metrics-port", "0")
    with service("gateway", store, *flags) as announced:
        stubs = []
        for _ in range(16):
            channel = grpc.insecure_channel(announced["address"], options=[("grpc.use_local_subchannel_pool", 1)])
            stubs.append((channel, gateway_pb2_grpc.RecommendationServiceStub(channel)))
        request = gateway_pb2.RecommendRequest(user_id="new", count=10)
        for number in range(3):
            # The stages are not there, so the answer is what is popular and the person does not know yet.
            shown = {answered(stub, request) for _, stub in stubs}
            assert len(shown) == 1
            (first, *_) = next(iter(shown))
            event = gateway_pb2.Event(event_id=str(number), user_id="new", item_id=first, action="rated", value=5)
            recorded = stubs[0][1].RecordEvents(gateway_pb2.RecordEventsRequest(events=[event]), timeout=10)
            assert recorded.accepted_count == 1
            for _, stub in stubs:
                assert first not in answered(stub, request)
        for channel, _ in stubs:
            channel.close()


def answered(
    stub: gateway_pb2_grpc.RecommendationServiceStub, request: gateway_pb2.RecommendRequest
) -> tuple[str, ...]:
    return tuple(each.item_id for each in stub.Recommend(request, timeout=10).recommendations)
