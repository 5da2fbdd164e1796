"""The retrieval service over gRPC: real server, real FAISS, real LiteRT."""

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from retrieval_service.server import SERVICE_NAME, build
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_catalogue, make_store
from tests.ports import free_port
from twostage.bundle.store import Store
from twostage.generations.first import Abandoned
from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc

Request = retrieval_pb2.RetrieveRequest
SimilarRequest = retrieval_pb2.RetrievalServiceSimilarItemsRequest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("retrieval") / "store")


@pytest.fixture(scope="module")
def channel(store: Store) -> Iterator[grpc.Channel]:
    settings = RetrievalSettings(store=store.path, port=0, metrics_port=0)
    server, prepare = build(settings, structlog.get_logger())
    with server:
        prepare()
        with grpc.insecure_channel(server.address) as opened:
            yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> retrieval_pb2_grpc.RetrievalServiceStub:
    return retrieval_pb2_grpc.RetrievalServiceStub(channel)


def test_candidates_are_the_nearest_of_the_catalogue(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    """A history of one item has that item's vector as its user vector, whatever the attention's weights."""
    vectors = make_catalogue().vectors.astype(np.float64)
    response = stub.Retrieve(
        Request(history=common_pb2.History(rows=[42]), exclude_rows=[42, 7], count=50, return_item_ids=True)
    )
    scores = vectors @ vectors[42]
    scores[[42, 7]] = -np.inf
    expected = np.argsort(-scores)[:50]
    assert list(response.candidates.rows) == expected.tolist()
    np.testing.assert_allclose(response.candidates.scores, scores[expected], atol=1e-5)
    assert list(response.candidates.item_ids) == [make_catalogue().item_ids[row] for row in expected]
    assert set(response.candidates.sources) == {1}
    assert response.generation == 1
    assert list(response.history_rows) == [42]
    assert not response.HasField("shortfall")
    assert [timing.stage for timing in response.timings] == ["resolve", "select", "user_tower", "search", "blend"]


def test_unknown_history_items_are_skipped_and_the_rest_counts(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    by_id = stub.Retrieve(Request(history=common_pb2.History(item_ids=["item-42", "unknown"]), count=20))
    by_row = stub.Retrieve(Request(history=common_pb2.History(rows=[42]), count=20))
    assert by_id.candidates == by_row.candidates
    assert list(by_id.history_rows) == [42]


@pytest.mark.parametrize("item_ids", [[], ["unknown"]])
def test_without_a_known_history_the_candidates_are_popular(
    stub: retrieval_pb2_grpc.RetrievalServiceStub, item_ids: list[str]
) -> None:
    popularity = make_catalogue().popularity
    response = stub.Retrieve(Request(history=common_pb2.History(item_ids=item_ids), count=30, generation=1))
    assert list(response.candidates.rows) == sorted(range(200), key=lambda row: (-popularity[row], row))[:30]
    assert set(response.candidates.scores) == {0.0}
    assert set(response.candidates.sources) == {2}


def test_what_is_missing_is_counted_and_explained(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    response = stub.Retrieve(
        Request(
            count=200,
            exclude_item_ids=["item-1", "unknown"],
            filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="tags", any_of=["poetry"])]),
        )
    )
    tags = make_catalogue().tags
    assert sorted(response.candidates.rows) == [row for row in range(200) if "poetry" in tags[row] and row != 1]
    assert response.shortfall.missing_count == 200 - len(response.candidates.rows)
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_EXCLUDED


def test_similar_items_are_the_nearest_without_the_item_itself(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    catalogue = make_catalogue()
    request = SimilarRequest(
        item_id="item-42",
        count=30,
        exclude_item_ids=["item-7", "unknown", "item-7"],
        filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["eng"])]),
    )
    response = stub.SimilarItems(request)
    scores = catalogue.vectors.astype(np.float64) @ catalogue.vectors[42]
    allowed = [row for row in range(200) if row not in (7, 42) and catalogue.languages[row] == ["eng"]]
    expected = sorted(allowed, key=lambda row: -scores[row])[:30]
    assert list(response.items.rows) == expected
    np.testing.assert_allclose(response.items.scores, scores[expected], atol=1e-5)
    assert response.generation == 1
    assert not response.HasField("shortfall")
    assert [timing.stage for timing in response.timings] == ["resolve", "select", "search", "blend"]
    request.count = 200
    assert stub.SimilarItems(request).shortfall.missing_count == 200 - len(allowed)


def test_neighbours_of_an_unknown_item_are_not_found(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    code, info, _ = failure(lambda: stub.SimilarItems(SimilarRequest(item_id="item-1234", count=5)))
    assert code is grpc.StatusCode.NOT_FOUND
    assert info == {"reason": "ITEM_NOT_FOUND", "item_id": "item-1234"}


def test_a_server_with_everything_answers_as_the_only_shard(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    request = Request(history=common_pb2.History(rows=[42]), count=50)
    whole = stub.Retrieve(request).candidates
    request.shard.with_shared_sources = True
    response = stub.Retrieve(request)
    (near,) = response.lists
    assert list(near.rows) == list(whole.rows)
    assert list(near.keys) == list(near.scores) == list(whole.scores)
    assert (response.answered_shard.index, response.answered_shard.count, response.allowed_count) == (0, 1, 200)


def test_every_candidate_tells_its_sources_and_its_rank_in_each(tmp_path: Path) -> None:
    shares = {"interest_vectors": 0.2, "neighbours": 0.2, "representatives": 0.1}
    store = make_store(tmp_path / "store", with_sources=True, source_shares=shares)
    settings = RetrievalSettings(store=store.path, port=0, metrics_port=0)
    server, prepare = build(settings, structlog.get_logger())
    clusters = make_catalogue().clusters
    read = np.concatenate([np.flatnonzero(clusters == cluster)[:6] for cluster in (1, 4)]).tolist()
    with server:
        prepare()
        with grpc.insecure_channel(server.address) as opened:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(opened)
            request = Request(
                history=common_pb2.History(rows=read), exclude_rows=read, count=60, return_source_ranks=True
            )
            columns = stub.Retrieve(request).candidates
            cold = stub.Retrieve(Request(count=60)).candidates
    assert len(columns.rows) == len(set(columns.rows)) == len(columns.sources) == 60
    by_rank = {1 << (entry.source - 1): list(entry.ranks) for entry in columns.source_ranks}
    assert set(by_rank) == {1, 16, 32, 256}
    for place, bits in enumerate(columns.sources):
        assert bits == sum(bit for bit, ranks in by_rank.items() if ranks[place])
    assert sorted(rank for rank in by_rank[32] if rank) == list(range(1, 13))
    brought = [row for row, rank in zip(columns.rows, by_rank[16], strict=True) if rank]
    assert {1, 4} <= set(clusters[brought].tolist())
    # Trending and representatives beside the popular.
    assert {bit for bits in cold.sources for bit in (2, 64, 128, 256) if bits & bit} == {2, 64, 256}


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, dict[str, str], str]:
    """Code, ErrorInfo's metadata with its reason, and message."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code(), {"reason": info.reason, **info.metadata}, status.message


def test_another_generation_is_refused_and_the_held_one_named(
    stub: retrieval_pb2_grpc.RetrievalServiceStub,
) -> None:
    code, info, _ = failure(lambda: stub.Retrieve(Request(count=1, generation=2)))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert info == {"reason": "GENERATION_NOT_LOADED", "wanted": "2", "held": "1"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(), "count"),
        (Request(count=5, history=common_pb2.History(rows=[200])), "history.rows[0]"),
        (
            Request(count=5, filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="colour")])),
            "filter.conditions[0].attribute",
        ),
    ],
)
def test_bad_input_is_refused_by_its_field_and_the_server_goes_on(
    stub: retrieval_pb2_grpc.RetrievalServiceStub, request_: Request, field: str
) -> None:
    code, info, message = failure(lambda: stub.Retrieve(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert info == {"reason": "INVALID_FIELD", "fields": field}
    assert message.startswith(f"{field}: expected ")
    assert len(stub.Retrieve(Request(count=5)).candidates.rows) == 5


def test_status_tells_what_is_held(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    status = stub.GetStatus(retrieval_pb2.RetrievalServiceGetStatusRequest()).status
    assert (status.service, status.serving, status.detail) == ("retrieval", True, "")
    assert [(g.generation, g.item_count, g.active) for g in status.generations] == [(1, 200, True)]
    assert {"faiss-cpu", "ai-edge-litert"} <= set(status.libraries)
    assert status.uptime_seconds > 0


def test_status_is_told_while_loading_and_requests_are_refused(store: Store) -> None:
    server, _ = build(RetrievalSettings(store=store.path, port=0, metrics_port=0), structlog.get_logger())
    server.start()
    try:
        with grpc.insecure_channel(server.address) as channel:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
            status = stub.GetStatus(retrieval_pb2.RetrievalServiceGetStatusRequest()).status
            assert (status.serving, status.detail, list(status.generations)) == (False, "loading", [])
            code, info, _ = failure(lambda: stub.Retrieve(Request(count=1)))
            assert (code, info["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    finally:
        server.stop(0)


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
