from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
import structlog

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.scorer import Scorer
from ranking_service.held import Held
from ranking_service.servicer import SERVICE, SERVICE_NAME, RankingServicer
from ranking_service.settings import RankingSettings
from tests.unit.ranking_service.catalogue import FixedScorer, RetrievalScorer
from twostage.bundle.store import Store
from twostage.generations.keeper import Keeper
from twostage.rpc.errors import error_info
from twostage.rpc.server import ServiceServer
from twostage.v1 import common_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2

_REQUEST = ranking_pb2.RankRequest(
    history=common_pb2.History(item_ids=["b1", "nobody", "b2"]),
    candidates=retrieval_pb2.CandidateColumns(rows=[10, 20, 30], scores=[0.1, 0.9, 0.5]),
    count=2,
    blend={"rated": 1.0},
)


@contextmanager
def _served(
    engine: RankingEngine | None, scorer: Scorer | None = None, *, margin_seconds: float = 0.001
) -> Iterator[ranking_pb2_grpc.RankingServiceStub]:
    def prepare(number: int) -> Held:
        assert engine is not None
        assert scorer is not None
        return Held(engine, scorer)

    keeper = Keeper(Store("unused"), prepare, logger=structlog.get_logger())
    if engine is not None:
        keeper.start(pinned=engine.number)
    servicer = RankingServicer(keeper, default_timeout_seconds=2.0, margin_seconds=margin_seconds)
    settings = RankingSettings.model_validate({"store": "unused", "port": 0, "metrics_port": 0})
    server = ServiceServer(
        SERVICE,
        [SERVICE_NAME],
        lambda grpc_server: ranking_pb2_grpc.add_RankingServiceServicer_to_server(servicer, grpc_server),
        settings,
    )
    with server, grpc.insecure_channel(server.address) as channel:
        yield ranking_pb2_grpc.RankingServiceStub(channel)


def _failure(stub: ranking_pb2_grpc.RankingServiceStub, timeout: float | None = 5.0) -> tuple[Any, str, str]:
    with pytest.raises(grpc.RpcError) as failed:
        stub.Rank(_REQUEST, timeout=timeout)
    error: Any = failed.value
    info = error_info(error)
    return error.code(), info.reason if info is not None else "", error.details()


def test_ids_in_the_history_are_resolved_and_the_best_answered(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    with _served(engine, scorer) as stub:
        response = stub.Rank(_REQUEST, timeout=5)
    assert [item.item_id for item in response.items] == ["b20", "b30"]
    assert scorer.calls[0][2]["history_mask"].sum() == 2


def test_the_scorer_gets_the_callers_time_less_the_margin(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    with _served(engine, scorer, margin_seconds=0.5) as stub:
        stub.Rank(_REQUEST, timeout=1.5)
        stub.Rank(_REQUEST)
    given = [timeout for *_, timeout in scorer.calls]
    # gRPC sends a deadline with three digits, rounded up.
    assert 0.5 < given[0] <= 1.0 + 0.015
    # No deadline: the default of two seconds.
    assert 1.4 < given[1] <= 1.5


def test_no_scorer_is_asked_with_less_than_the_margin_left(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    with _served(engine, scorer, margin_seconds=1.9) as stub:
        assert _failure(stub, timeout=1.0)[:2] == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_SPENT")
    assert scorer.calls == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.full((3, 2), np.nan, np.float32), "expected finite scores"),
        (np.zeros((3, 4), np.float32), "expected scores of shape"),
    ],
)
def test_a_useless_model_is_unavailable_and_not_the_callers_fault(
    engine: RankingEngine, answer: np.ndarray[Any, Any], message: str
) -> None:
    with _served(engine, FixedScorer(answer)) as stub:
        code, reason, details = _failure(stub)
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    assert message in details


def test_without_a_generation_requests_are_refused_and_the_status_is_told() -> None:
    with _served(None) as stub:
        assert _failure(stub)[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        status = stub.GetStatus(ranking_pb2.RankingServiceGetStatusRequest(), timeout=5).status
    assert (status.service, status.serving, status.detail) == ("ranking", False, "loading")
    assert "numpy" in status.libraries


def test_another_generation_and_a_negative_one_are_told_apart(engine: RankingEngine) -> None:
    with _served(engine, RetrievalScorer()) as stub:
        for number, code in ((2, grpc.StatusCode.FAILED_PRECONDITION), (-1, grpc.StatusCode.INVALID_ARGUMENT)):
            request = ranking_pb2.RankRequest()
            request.CopyFrom(_REQUEST)
            request.generation = number
            with pytest.raises(grpc.RpcError) as failed:
                stub.Rank(request, timeout=5)
            assert failed.value.code() is code
