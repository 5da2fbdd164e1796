"""The ranking service before a real model server whose model, or whose life, is not as it should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.bundles import make_store
from tests.integration.ranking.asking import failure, rank_request
from tests.integration.ranking.processes import ModelServerProcess, RankingProcess
from tests.integration.ranking.reference import ITEM_COUNT, add_golden
from twostage.bundle.store import Store
from twostage.tfserving import ModelServerClient, ModelServerDeadline, ModelServerOverloaded, messages
from twostage.v1 import ranking_pb2, retrieval_pb2

_ROWS = list(range(60, 160))
_NAN, _TWO_ACTIONS, _SLOW, _SLOW_EFFECTS, _NAN_EFFECTS, _TEN_EFFECTS = 100.0, 200.0, 300.0, 400.0, 500.0, 600.0


@pytest.fixture(scope="module")
def odd_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store whose ranker does as tests/integration/ranking/odd_models.py says; a manifest's sums do not matter."""
    store = make_store(tmp_path_factory.mktemp("odd") / "store", item_count=ITEM_COUNT, with_models=True)
    add_golden(store.generations_path / "1")
    model = store.models_path / "default" / "1"
    shutil.rmtree(model)
    program = Path(__file__).with_name("odd_models.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, str(program), str(model), "16"], check=True, capture_output=True, env=environment)
    return store


@pytest.fixture(scope="module")
def odd_server(odd_store: Store) -> Iterator[ModelServerProcess]:
    server = ModelServerProcess(odd_store)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@contextmanager
def _proxy(target: str, change: Any) -> Iterator[str]:
    """A server before the model server that passes bytes on and lets a test change the answers to Predict."""
    channel = grpc.insecure_channel(target)

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            method = handler_call_details.method
            ask: Any = channel.unary_unary(method)

            def forward(request: bytes, context: grpc.ServicerContext) -> bytes:
                try:
                    answer: bytes = ask(request, timeout=context.time_remaining())
                except grpc.RpcError as error:
                    call: Any = error
                    context.abort(call.code(), call.details())
                    raise
                return change(answer) if method == messages.PREDICT_METHOD else answer

            return grpc.unary_unary_rpc_method_handler(forward)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
        channel.close()


@contextmanager
def _serving(store: Store, model_server: str) -> Iterator[RankingProcess]:
    process = RankingProcess.start(store.path, model_server, "--port", "0")
    try:
        process.wait_serving()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="module")
def odd_service(odd_store: Store, odd_server: ModelServerProcess) -> Iterator[RankingProcess]:
    with _serving(odd_store, odd_server.address) as process:
        yield process


def _asking_for(trouble: float, **changes: Any) -> ranking_pb2.RankRequest:
    scores = np.linspace(0.8, -0.2, len(_ROWS))
    # The last, so that it is none of the selected unless all are.
    scores[-1] = trouble
    return rank_request(candidates=retrieval_pb2.CandidateColumns(rows=_ROWS, scores=scores.tolist()), **changes)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (_NAN, "model default version 1: expected finite scores, received nan for action 0 of candidate 0"),
        (_TWO_ACTIONS, "model default version 1: expected scores of shape (100, 3), received shape (100, 2)"),
    ],
)
def test_useless_scores_are_no_ranking_and_no_lasting_harm(
    odd_service: RankingProcess, trouble: float, why: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        odd_service.rank(_asking_for(trouble))
    error: Any = refused.value
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, f"not ready: {why}")
    assert len(odd_service.rank(rank_request()).items) == 10


def test_a_slow_answer_is_a_spent_deadline_and_an_answer_to_who_can_wait(odd_service: RankingProcess) -> None:
    begin = time.monotonic()
    code, reason, _ = failure(lambda: odd_service.rank(_asking_for(_SLOW), timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - begin < 0.9
    assert len(odd_service.rank(_asking_for(_SLOW)).items) == 10
    assert reason in {"", "DEADLINE_SPENT"}


@pytest.mark.parametrize("trouble", [_NAN_EFFECTS, _TEN_EFFECTS, _SLOW_EFFECTS])
def test_effects_that_fail_or_are_late_cost_an_explanation_its_second_half_alone(
    odd_service: RankingProcess, trouble: float
) -> None:
    request = _asking_for(trouble, explain=True, count=100, history_weights=[0.5, 0.25, 0.25])
    response = odd_service.rank(request, timeout=0.9 if trouble == _SLOW_EFFECTS else 5.0)
    told = [one for item in response.items for one in item.explanations]
    assert len(response.items) == 100
    assert told
    assert all(one.ranking_effect == 0 for one in told)
    assert any(one.retrieval_part > 0 for one in told)


def test_an_answer_of_another_version_is_refused(odd_store: Store, odd_server: ModelServerProcess) -> None:
    offset = 0

    def change(answer: bytes) -> bytes:
        response = messages.PredictResponse.FromString(answer)
        response.model_spec.version.value += offset
        changed: bytes = response.SerializeToString()
        return changed

    with _proxy(odd_server.address, change) as address, _serving(odd_store, address) as service:
        assert len(service.rank(rank_request()).items) == 10
        offset = 1
        with pytest.raises(grpc.RpcError) as refused:
            service.rank(rank_request())
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "model default version 1: expected an answer of this version" in error.details()
        offset = 0
        assert len(service.rank(rank_request()).items) == 10


def test_a_restarted_model_server_costs_no_request_that_can_wait(odd_store: Store) -> None:
    server = ModelServerProcess(odd_store)
    server.start()
    stop = threading.Event()
    answered: list[int] = []

    def ask(service: RankingProcess) -> None:
        while not stop.is_set():
            answered.append(len(service.rank(rank_request(), timeout=60).items))

    try:
        server.wait()
        with _serving(odd_store, server.address) as service, ThreadPoolExecutor(3) as callers:
            calls = [callers.submit(ask, service) for _ in range(3)]
            time.sleep(0.5)
            server.kill()
            before = len(answered)
            server.start()
            server.wait()
            time.sleep(1.0)
            stop.set()
            for call in calls:
                call.result()
            assert before > 3
            assert len(answered) > before + 3
            assert set(answered) == {10}
    finally:
        stop.set()
        server.kill()


def test_expired_work_does_not_pile_up_in_the_model_server(odd_server: ModelServerProcess) -> None:
    def inputs(retrieval_score: float) -> dict[str, Any]:
        return {
            "history_features": np.zeros((1, 50, 16), np.float16),
            "history_mask": np.zeros((1, 50), np.float32),
            "candidate_features": np.zeros((1, 17), np.float16),
            "retrieval_scores": np.array([retrieval_score], np.float32),
        }

    outcomes: list[str] = []
    with ModelServerClient(odd_server.address, max_in_flight=2) as client:
        client.predict("default", 1, inputs(0.0), timeout_seconds=10)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                client.predict("default", 1, inputs(_SLOW), timeout_seconds=0.02)
            except (ModelServerDeadline, ModelServerOverloaded) as error:
                outcomes.append(type(error).__name__)
            time.sleep(0.01)
        # Two, and those that try it out after 0.05, 0.1, 0.2 and 0.4 s.
        assert 2 <= outcomes.count("ModelServerDeadline") <= 8
        assert outcomes.count("ModelServerOverloaded") > 10
        end = time.monotonic() + 10
        while client.abandoned_count:
            assert time.monotonic() < end
            try:
                client.predict("default", 1, inputs(0.0), timeout_seconds=5)
            except ModelServerOverloaded:
                time.sleep(0.05)
