"""The retrieval service as a program: what it refuses to start with, waits for, tells and never loads."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from retrieval_service.server import SERVICE_NAME, build
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_store
from tests.ports import free_port
from twostage.bundle.store import Store
from twostage.generations.first import Abandoned
from twostage.v1 import retrieval_pb2, retrieval_pb2_grpc

Request = retrieval_pb2.RetrieveRequest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("retrieval") / "store")


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "retrieval_service", "--port", "0", "--metrics-port", "0", *map(str, arguments)]


def refused(store: Path, *arguments: object) -> str:
    """The one line in which a start on this store is refused."""
    ended = subprocess.run(
        program("--store", store, "--log-level", "ERROR", *arguments),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("INFO: Created TensorFlow Lite")]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("retrieval: error: ")
    return lines[0]


@pytest.fixture
def damaged(store: Store, tmp_path: Path) -> Store:
    """A copy of the store to be damaged."""
    shutil.copytree(store.path, tmp_path / "damaged")
    return Store(tmp_path / "damaged")


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    assert "no such store" in refused(tmp_path / "nowhere")


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    assert "the store is empty" in refused(tmp_path)


def test_a_half_written_generation_is_refused(damaged: Store) -> None:
    (damaged.generations_path / "1" / "manifest.json").unlink()
    assert "half-written" in refused(damaged.path)


@pytest.mark.parametrize(
    "file",
    [
        "items/ids.blob.npy",
        "retrieval/default/index.faiss",
        "retrieval/default/user_tower.tflite",
        "golden/retrieval.json",
    ],
)
def test_one_flipped_bit_is_refused(damaged: Store, file: str) -> None:
    path = damaged.generations_path / "1" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = refused(damaged.path)
    assert file in line
    assert "expected sha256" in line


def test_golden_answers_that_differ_are_refused_even_with_the_right_sums(damaged: Store) -> None:
    path = damaged.generations_path / "1" / "golden" / "retrieval.json"
    answers = json.loads(path.read_text())
    answers[1]["rows"].reverse()
    path.write_text(json.dumps(answers))
    assert "golden/retrieval.json: expected answer 1" in refused(damaged.path, "--no-verify-checksums")


def test_a_port_in_use_is_refused(store: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused(store.path, "--port", port)


def test_a_bad_setting_is_refused_by_its_name(store: Store) -> None:
    ended = subprocess.run(
        program("--store", store.path), capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "TWOSTAGE_RETRIEVAL_MAX_WORKERS": "none"},
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("retrieval: error: TWOSTAGE_RETRIEVAL_MAX_WORKERS: expected")
    assert ended.stderr.count("\n") == 1


def test_the_program_serves_reports_health_and_metrics_and_stops_on_sigterm(store: Store) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics_port = free.getsockname()[1]
    command = program("--store", store.path, "--metrics-port", metrics_port)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        with grpc.insecure_channel(announced["address"]) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            for name in ("", SERVICE_NAME):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
            stub.Retrieve(Request(count=11), timeout=10)
        with urllib.request.urlopen(f"http://{announced['metrics_address']}/metrics", timeout=10) as page:
            text = page.read().decode()
        assert 'twostage_retrieval_candidates_total{source="popular"} 11.0' in text
        assert 'twostage_generation{state="active"} 1.0' in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_serving_process_never_imports_tensorflow(store: Store) -> None:
    code = f"""
        import sys
        import grpc, structlog
        from retrieval_service.server import build
        from retrieval_service.settings import RetrievalSettings
        from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc

        settings = RetrievalSettings(store={str(store.path)!r}, port=0, metrics_port=0)
        server, prepare = build(settings, structlog.get_logger())
        with server:
            prepare()
            with grpc.insecure_channel(server.address) as channel:
                request = retrieval_pb2.RetrieveRequest(history=common_pb2.History(rows=[1]), count=5)
                response = retrieval_pb2_grpc.RetrievalServiceStub(channel).Retrieve(request, timeout=10)
                assert len(response.candidates.rows) == 5
        print(sorted(name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras")))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_service_without_its_bundle_waits_unready_with_the_reason_and_serves_once_it_is_there(
    store: Store, tmp_path: Path
) -> None:
    folder, metrics_port = tmp_path / "store", free_port()
    command = [sys.executable, "-m", "retrieval_service", "--store", str(folder), "--port", "0"]
    flags = ["--metrics-port", str(metrics_port), "--store-wait-seconds", "forever"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            waiting = json.loads(process.stderr.readline())
            assert (waiting["event"], waiting["level"]) == ("waiting for a generation", "warning")
            assert waiting["reason"].startswith(f"{folder}: no such store")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/readyz", timeout=10)
            assert refused.value.code == 503
            assert f"waiting for a generation: {folder}: no such store" in refused.value.read().decode()
            assert process.poll() is None
            shutil.copytree(store.path, tmp_path / "aside")
            (tmp_path / "aside").rename(folder)
            address = json.loads(process.stdout.readline())["address"]
            with grpc.insecure_channel(address) as channel:
                answer = retrieval_pb2_grpc.RetrievalServiceStub(channel).Retrieve(Request(count=5), timeout=10)
            assert len(answer.candidates.rows) == 5
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_the_status_of_a_waiting_service_tells_the_reason(tmp_path: Path) -> None:
    settings = RetrievalSettings(store=tmp_path / "none", port=0, metrics_port=0, store_wait_seconds=math.inf)
    server, prepare = build(settings, structlog.get_logger())
    server.start()

    def wait() -> None:
        with pytest.raises(Abandoned):
            prepare()

    preparing = threading.Thread(target=wait, daemon=True)
    preparing.start()
    try:
        with grpc.insecure_channel(server.address) as channel:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
            deadline = time.monotonic() + 30
            while True:
                status = stub.GetStatus(retrieval_pb2.RetrievalServiceGetStatusRequest(), timeout=5).status
                if status.detail != "loading" or time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            assert not status.serving
            assert status.detail.startswith(f"waiting for a generation: {tmp_path / 'none'}: no such store")
            with pytest.raises(grpc.RpcError) as refused:
                stub.Retrieve(Request(count=5), timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        server.stop(0)
        preparing.join(10)
    assert not preparing.is_alive()
