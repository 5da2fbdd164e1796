"""The ranking service before a model server that is late, absent, killed and started again."""

from __future__ import annotations

import signal
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.integration.ranking.asking import failure, rank_request
from tests.integration.ranking.processes import ModelServerProcess, RankingProcess, Start
from tests.ports import free_port
from twostage.bundle.store import Store
from twostage.v1 import retrieval_pb2

_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_late_model_server_is_a_spent_deadline_and_no_lasting_harm(
    service: RankingProcess, model_server: ModelServerProcess
) -> None:
    assert model_server.process is not None
    model_server.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        code, _, _ = failure(lambda: service.rank(rank_request(), timeout=0.3))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 1.0
    finally:
        model_server.process.send_signal(signal.SIGCONT)
    assert len(service.rank(rank_request()).items) == 10


def test_a_service_without_a_model_server_waits_survives_its_death_and_recovers(store: Store, start: Start) -> None:
    models = ModelServerProcess(store)
    port = free_port()
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
        assert failure(lambda: service.rank(rank_request()))[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")

        models.start()
        service.wait_serving()
        assert len(service.rank(rank_request()).items) == 10

        models.kill()
        assert failure(lambda: service.rank(rank_request()))[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        with pytest.raises(grpc.RpcError) as refused:
            service.rank(rank_request())
        told: Any = refused.value
        assert told.details() == "not ready: the model server does not answer"
        deadline = time.monotonic() + 5
        while not any(f"model server at {models.address}: " in line for line in service.log):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # Nothing to score needs no model server.
        assert service.rank(rank_request(candidates=retrieval_pb2.CandidateColumns())).shortfall.missing_count == 10

        models.start()
        models.wait()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert len(service.rank(rank_request()).items) == 10
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        models.kill()
    assert service.stop() == 0
