"""The ranking service as a process, before a real model server as a process, over real sockets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from numpy.typing import NDArray

from ranking_service.engine.golden import GOLDEN_PATH, GoldenAnswer, write_golden
from tests.bundles import make_catalogue, make_store
from twostage.bundle.checksums import sum_file
from twostage.bundle.manifest import read_manifest, write_manifest
from twostage.bundle.store import Store
from twostage.tfserving import ModelServerClient, ModelServerError, VersionState
from twostage.v1 import common_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2

_ITEM_COUNT = 200
_WEIGHTS = np.array([0.5, 1.0, 0.25])
_START_SECONDS = 60.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
# As a user would run it: what an operator's shell sets must not decide these tests.
_ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("TWOSTAGE_")}


def _reference(
    history: list[int], rows: list[int], scores: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The tiny ranker of tests/tiny_models.py and the blend of tests/bundles.py in NumPy: [N, 3] and [N]."""
    catalogue = make_catalogue(item_count=_ITEM_COUNT)
    half = catalogue.vectors.astype(np.float16).astype(np.float64)
    popularity = (catalogue.popularity / catalogue.popularity.max()).astype(np.float16).astype(np.float64)
    user = half[history].sum(axis=0) / max(len(history), 1)
    logits = (
        (half[rows] @ user)[:, np.newaxis] * [2.0, 4.0, 1.0]
        + np.array(scores)[:, np.newaxis] * [0.5, 1.0, 3.0]
        + popularity[rows][:, np.newaxis]
        + [-0.5, -1.5, -2.5]
    )
    probabilities = 1 / (1 + np.exp(-logits))
    return probabilities, probabilities @ _WEIGHTS / _WEIGHTS.sum()


def _add_golden(path: Path, offset: float = 0.0) -> None:
    """Publishes golden rankings computed without the code under test."""
    history, rows = [3, 4, 5], list(range(20, 60))
    scores = np.linspace(0.9, -0.3, len(rows)).round(3).tolist()
    _, blended = _reference(history, rows, scores)
    order = np.argsort(-blended, kind="stable")
    answer = GoldenAnswer(
        history_rows=history,
        candidate_rows=rows,
        retrieval_scores=scores,
        rows=[rows[position] for position in order],
        scores=(blended[order] + offset).tolist(),
    )
    manifest = read_manifest(path)
    files = {**manifest.files, GOLDEN_PATH: sum_file(write_golden(path, [answer]))}
    write_manifest(path, manifest.model_copy(update={"files": files}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ModelServerProcess:
    """``python -m model_server`` over a store, on a port that stays the same over restarts."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [f"--port={self.port}", "--model_name=default", "--tensorflow_intra_op_parallelism=1"]
        base = f"--model_base_path={self.store.models_path / 'default'}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "model_server", *arguments, base],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with ModelServerClient(self.address) as client:
            while time.monotonic() < deadline:
                try:
                    if client.model_status("default", 1, 1.0)[1].state is VersionState.AVAILABLE:
                        return
                except ModelServerError:
                    pass
                time.sleep(0.05)
        raise TimeoutError(f"no model server at {self.address}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class RankingProcess:
    """``python -m ranking_service``."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    channel: grpc.Channel = None  # type: ignore[assignment]

    @classmethod
    def start(cls, store: Path, model_server: str, *arguments: str) -> RankingProcess:
        command = [sys.executable, "-m", "ranking_service", "--store", str(store), "--model-server", model_server]
        process = subprocess.Popen(
            [*command, "--metrics-port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_ENVIRONMENT,
        )
        return cls(process)

    def connect(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)

    def wait_serving(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.communicate()[1])
        self.connect(json.loads(line)["address"])
        # Read on, lest a full pipe blocks the service.
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def rank(self, request: ranking_pb2.RankRequest, timeout: float = 5.0) -> ranking_pb2.RankResponse:
        response: ranking_pb2.RankResponse = ranking_pb2_grpc.RankingServiceStub(self.channel).Rank(
            request, timeout=timeout
        )
        return response

    def status(self) -> common_pb2.ServiceStatus:
        stub = ranking_pb2_grpc.RankingServiceStub(self.channel)
        response = stub.GetStatus(ranking_pb2.RankingServiceGetStatusRequest(), timeout=5, wait_for_ready=True)
        status: common_pb2.ServiceStatus = response.status
        return status

    def health(self) -> int:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True).status)

    def failed_start(self) -> str:
        """Waits for a start that fails and gives the lines of standard error that are no log."""
        _, errors = self.process.communicate(timeout=_START_SECONDS)
        assert self.process.returncode == 1, errors
        lines = [line for line in errors.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, errors
        return lines[0]

    def stop(self) -> int:
        if self.channel is not None:
            self.channel.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return self.process.returncode


Start = Callable[..., RankingProcess]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_store(tmp_path_factory.mktemp("ranking") / "store", item_count=_ITEM_COUNT, with_models=True)
    _add_golden(store.generations_path / "1")
    return store


@pytest.fixture(scope="module")
def model_server(store: Store) -> Iterator[ModelServerProcess]:
    server = ModelServerProcess(store)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def service(store: Store, model_server: ModelServerProcess) -> Iterator[RankingProcess]:
    process = RankingProcess.start(store.path, model_server.address, "--port", "0")
    try:
        process.wait_serving()
        yield process
    finally:
        process.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def run(store: Path, model_server: str, *arguments: str) -> RankingProcess:
            process = RankingProcess.start(store, model_server, *arguments)
            stack.callback(process.stop)
            return process

        yield run


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Store:
    """The store's copy, to be damaged."""
    shutil.copytree(store.path, tmp_path / "store")
    return Store(tmp_path / "store")


def _request(**changes: Any) -> ranking_pb2.RankRequest:
    rows = list(range(60, 160))
    fields: dict[str, Any] = {
        "history": common_pb2.History(rows=[1, 2, 3]),
        "candidates": retrieval_pb2.CandidateColumns(rows=rows, scores=np.linspace(0.8, -0.2, len(rows)).tolist()),
        "count": 10,
    }
    return ranking_pb2.RankRequest(**{**fields, **changes})


def _failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, list[Any]]:
    """Code, reason and violations of a call that must fail."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    error: Any = failed.value
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        if not detail.Unpack(info):
            detail.Unpack(bad_request)
    return error.code(), info.reason, list(bad_request.field_violations)


def test_the_ranking_is_that_of_the_model_and_the_blend(service: RankingProcess) -> None:
    request = _request(generation=1, count=100, trace=True)
    response = service.rank(request)
    rows = list(request.candidates.rows)
    probabilities, blended = _reference([1, 2, 3], rows, list(request.candidates.scores))
    places = [item.candidate_index for item in response.items]
    assert sorted(places) == list(range(100))
    assert [item.row for item in response.items] == [rows[place] for place in places]
    assert [item.score for item in response.items] == pytest.approx(blended[places].tolist(), abs=1e-4)
    assert [item.score for item in response.items] == sorted([item.score for item in response.items], reverse=True)
    assert np.allclose([list(item.action_scores) for item in response.items], probabilities[places], atol=1e-4)
    assert list(response.actions) == ["rated", "liked", "to_read"]
    assert [item.ranking_rank for item in response.items] == list(range(1, 101))
    assert response.generation == 1
    assert not response.HasField("shortfall")


def test_items_carry_ids_titles_attributes_and_reasons(service: RankingProcess) -> None:
    response = service.rank(_request(attributes=["tags", "language"], explain=True))
    catalogue = make_catalogue(item_count=_ITEM_COUNT)
    assert len(response.items) == 10
    for item in response.items:
        assert item.item_id == catalogue.item_ids[item.row]
        assert item.title == catalogue.titles[item.row]
        assert item.attributes["tags"].split(", ") == catalogue.tags[item.row]
    reasons = [reason for item in response.items for reason in item.reasons]
    assert reasons
    known = [f"because of {catalogue.titles[row]} (" for row in (1, 2, 3)]
    assert all(any(reason.startswith(text) for text in known) for reason in reasons)


def test_the_steps_are_timed_with_the_model_server_apart(service: RankingProcess) -> None:
    timings = {timing.stage: timing.compute_ms for timing in service.rank(_request()).timings}
    steps = ["gather", "model_server", "blend", "select", "describe"]
    assert list(timings) == [*steps, "ranking"]
    assert timings["model_server"] > 0
    assert timings["ranking"] >= sum(timings[step] for step in steps)


def test_fewer_candidates_than_asked_for_are_a_shortfall(service: RankingProcess) -> None:
    response = service.rank(_request(count=150))
    assert len(response.items) + response.shortfall.missing_count == 150
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_TOO_FEW_CANDIDATES
    nothing = service.rank(_request(candidates=retrieval_pb2.CandidateColumns()))
    assert (len(nothing.items), nothing.shortfall.missing_count) == (0, 10)


def test_caps_and_pins_hold_over_the_wire(service: RankingProcess) -> None:
    diversity = common_pb2.Diversity(strength=0.3, caps=[common_pb2.Cap(attribute="language", max_count=3)])
    selection = ranking_pb2.SelectionPolicy(diversity=diversity, pinned_rows=[159, 0])
    response = service.rank(_request(selection=selection))
    languages = make_catalogue(item_count=_ITEM_COUNT).languages
    chosen = [languages[item.row][0] for item in response.items]
    assert response.items[0].row == 159
    assert max(chosen.count(language) for language in set(chosen)) <= 3


def test_another_generation_is_refused_with_those_that_are_held(service: RankingProcess) -> None:
    code, reason, _ = _failure(lambda: service.rank(_request(generation=2)))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "GENERATION_NOT_LOADED")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"count": 0}, "count"),
        ({"count": 2001}, "count"),
        ({"generation": -1}, "generation"),
        ({"ranker": "best"}, "ranker"),
        ({"blend": {"bought": 1.0}}, "blend[bought]"),
        ({"attributes": ["colour"]}, "attributes[0]"),
        ({"candidates": retrieval_pb2.CandidateColumns(rows=[1, 200], scores=[1, 1])}, "candidates.rows[1]"),
        ({"candidates": retrieval_pb2.CandidateColumns(rows=[1], scores=[])}, "candidates.scores"),
        ({"history": common_pb2.History(rows=[200])}, "history.rows[0]"),
    ],
)
def test_a_bad_field_is_named_and_the_next_request_is_served(
    service: RankingProcess, changes: dict[str, Any], path: str
) -> None:
    code, reason, violations = _failure(lambda: service.rank(_request(**changes)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [violation.field for violation in violations] == [path]
    assert len(service.rank(_request()).items) == 10


def test_a_late_model_server_is_a_spent_deadline_and_no_lasting_harm(
    service: RankingProcess, model_server: ModelServerProcess
) -> None:
    assert model_server.process is not None
    model_server.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        code, _, _ = _failure(lambda: service.rank(_request(), timeout=0.3))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 1.0
    finally:
        model_server.process.send_signal(signal.SIGCONT)
    assert len(service.rank(_request()).items) == 10


def test_the_status_says_what_is_held(service: RankingProcess) -> None:
    status = service.status()
    assert (status.service, status.serving, status.detail) == ("ranking", True, "")
    assert [(held.generation, held.item_count, held.active) for held in status.generations] == [(1, 200, True)]
    assert service.health() == _SERVING


def test_no_tensorflow_is_in_the_process_that_serves(store: Store, model_server: ModelServerProcess) -> None:
    program = """
import sys
import structlog
from ranking_service.server import build
from ranking_service.settings import RankingSettings
settings = RankingSettings(store=sys.argv[1], model_server=sys.argv[2], port=0, metrics_port=0)
server, prepare = build(settings, structlog.get_logger())
prepare()
heavy = {"tensorflow", "keras", "tensorflow_serving", "faiss", "ai_edge_litert", "scipy", "pyarrow"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
server.stop(0)
"""
    command = [sys.executable, "-c", program, str(store.path), model_server.address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENVIRONMENT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_service_without_a_model_server_waits_survives_its_death_and_recovers(store: Store, start: Start) -> None:
    models = ModelServerProcess(store)
    port = _free_port()
    service = start(store.path, models.address, "--port", str(port))
    service.connect(f"127.0.0.1:{port}")
    try:
        status = service.status()
        deadline = time.monotonic() + 10
        while not status.detail.startswith("waiting") and time.monotonic() < deadline:
            time.sleep(0.05)
            status = service.status()
        assert (status.serving, list(status.generations)) == (False, [])
        assert f"waiting: model server at {models.address} does not answer" in status.detail
        assert service.health() == _NOT_SERVING
        assert _failure(lambda: service.rank(_request()))[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")

        models.start()
        service.wait_serving()
        assert len(service.rank(_request()).items) == 10

        models.kill()
        assert _failure(lambda: service.rank(_request()))[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        with pytest.raises(grpc.RpcError) as refused:
            service.rank(_request())
        told: Any = refused.value
        assert told.details() == "not ready: the model server does not answer"
        deadline = time.monotonic() + 5
        while not any(f"model server at {models.address}: " in line for line in service.log):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # Nothing to score needs no model server.
        assert service.rank(_request(candidates=retrieval_pb2.CandidateColumns())).shortfall.missing_count == 10

        models.start()
        models.wait()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert len(service.rank(_request()).items) == 10
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        models.kill()
    assert service.stop() == 0


def test_a_model_server_that_never_comes_ends_the_start_with_one_line(store: Store, start: Start) -> None:
    address = f"127.0.0.1:{_free_port()}"
    line = start(store.path, address, "--port", "0", "--model-server-wait-seconds", "0.3").failed_start()
    assert line.startswith(f"ranking: error: model server at {address} does not answer")
    assert "waited 0.3 s (model_server_wait_seconds)" in line


def test_a_model_server_without_the_generations_version_ends_the_start(
    copy: Store, model_server: ModelServerProcess, start: Start
) -> None:
    make_store(copy.path, item_count=_ITEM_COUNT, with_models=True)  # generation 2, unknown to the model server
    line = start(copy.path, model_server.address, "--port", "0", "--model-server-wait-seconds", "0.3").failed_start()
    assert "model default version 2" in line


def test_a_generation_without_golden_rankings_serves_and_the_log_says_so(
    store: Store, model_server: ModelServerProcess, start: Start, tmp_path: Path
) -> None:
    plain = make_store(tmp_path / "plain", item_count=_ITEM_COUNT)
    service = start(plain.path, model_server.address, "--port", "0")
    service.wait_serving()
    assert len(service.rank(_request()).items) == 10
    service.process.terminate()
    service.process.wait(10)
    deadline = time.monotonic() + 5
    while not any("no golden rankings" in line for line in service.log) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any("no golden rankings" in line for line in service.log)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_one_flipped_byte_ends_the_start_and_names_the_file(copy: Store, start: Start) -> None:
    _flip(copy.generations_path / "1" / "ranking/default/candidates.npy")
    line = start(copy.path, "127.0.0.1:1", "--port", "0").failed_start()
    assert "ranking/default/candidates.npy: expected sha256" in line


def test_a_model_that_answers_otherwise_than_published_does_not_serve(
    copy: Store, model_server: ModelServerProcess, start: Start
) -> None:
    _add_golden(copy.generations_path / "1", offset=0.01)
    line = start(copy.path, model_server.address, "--port", "0").failed_start()
    assert "golden ranking 1 of 1, generation 1: expected score" in line


def test_a_store_that_is_missing_empty_or_half_written_is_named(copy: Store, start: Start, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (copy.generations_path / "1" / "manifest.json").unlink()
    processes = {
        "no such store": start(tmp_path / "nowhere", "127.0.0.1:1", "--port", "0"),
        "the store is empty": start(empty, "127.0.0.1:1", "--port", "0"),
        "manifest.json: expected a manifest": start(copy.path, "127.0.0.1:1", "--port", "0"),
    }
    for expected, process in processes.items():
        assert expected in process.failed_start()


def test_a_port_in_use_is_named(store: Store, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = start(store.path, "127.0.0.1:1", "--port", str(port)).failed_start()
    assert f"127.0.0.1:{port}" in line
