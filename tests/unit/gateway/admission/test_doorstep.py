"""Refusals over a real socket, before a server whose workers are all busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from gateway.admission import admission as admission_module
from gateway.admission.admission import Admission, AdmissionPolicy
from twostage.errors import Overloaded
from twostage.rpc.errors import from_rpc_error
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

QUESTION = gateway_pb2.RecommendRequest(user_id="user-1")


class HoldingServicer(gateway_pb2_grpc.RecommendationServiceServicer):
    """Holds every question until it is released; answers the rest at once."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def Recommend(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        del request, context
        self.release.wait(30)
        return gateway_pb2.RecommendResponse(rung=gateway_pb2.RUNG_FULL)

    def RecordEvents(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecordEventsRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecordEventsResponse:
        del request, context
        return gateway_pb2.RecordEventsResponse(accepted_count=1)

    def GetStatus(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendationServiceGetStatusRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendationServiceGetStatusResponse:
        del request, context
        return gateway_pb2.RecommendationServiceGetStatusResponse()


@dataclass
class Served:
    admission: Admission
    registry: CollectorRegistry
    stub: gateway_pb2_grpc.RecommendationServiceStub
    servicer: HoldingServicer
    held: list[grpc.Future[gateway_pb2.RecommendResponse]] = field(default_factory=list)

    def hold(self, count: int, timeout: float = 20.0) -> None:
        """Asks so many questions that are not answered yet."""
        self.held += [self.stub.Recommend.future(QUESTION, timeout=timeout) for _ in range(count)]

    def until(self, *, in_flight: int, waiting: int = 0) -> None:
        lane = next(iter(self.admission.gate.lanes))
        deadline = time.monotonic() + 10
        while (lane.in_flight_count, len(lane.room)) != (in_flight, waiting):
            assert time.monotonic() < deadline, (lane.in_flight_count, len(lane.room))
            time.sleep(0.002)

    def refused(self, **labels: str) -> float | None:
        return self.registry.get_sample_value("twostage_gateway_refused_total", {"lane": "answers", **labels})


@contextmanager
def serving(max_concurrency: int = 2, max_waiting: int = 2) -> Iterator[Served]:
    registry = CollectorRegistry()
    servicer = HoldingServicer()
    admission = Admission(
        AdmissionPolicy(max_concurrency, max_waiting, 0.9), registry, default_seconds=30.0, longest_seconds=30.0
    )
    server = ServiceServer(
        "gateway",
        ["twostage.v1.RecommendationService"],
        lambda grpc_server: gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, grpc_server),
        ServiceSettings(port=0),
        registry=registry,
        gates=[admission.gate],
        interceptors=[admission.doorstep],
        workers=admission.workers,
    )
    server.on_close(admission.close)
    with server, grpc.insecure_channel(server.address) as channel:
        try:
            yield Served(admission, registry, gateway_pb2_grpc.RecommendationServiceStub(channel), servicer)
        finally:
            servicer.release.set()


def refusal(stub: gateway_pb2_grpc.RecommendationServiceStub, request: gateway_pb2.RecommendRequest) -> Overloaded:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Recommend(request, timeout=10)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(error)
    kinds = {detail.type_url.rpartition(".")[2] for detail in status.details}
    assert kinds == {"ErrorInfo", "RetryInfo"}
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    overloaded = from_rpc_error(error)
    assert isinstance(overloaded, Overloaded)
    assert overloaded.retry_after_seconds == retry.retry_delay.ToNanoseconds() / 1e9 > 0
    return overloaded


def test_a_question_too_many_is_refused_on_the_doorstep_and_says_when_to_come_back() -> None:
    with serving() as served:
        served.hold(4)
        served.until(in_flight=2, waiting=2)
        told = {refusal(served.stub, QUESTION).retry_after_seconds for _ in range(20)}
        assert len(told) > 1
        # Refused before anybody asked who it is: no priority is known.
        assert served.refused(reason="full", priority="") == 20
        served.servicer.release.set()
        assert [call.result(10).rung for call in served.held] == [gateway_pb2.RUNG_FULL] * 4


def test_a_large_question_is_refused_without_being_read() -> None:
    large = gateway_pb2.RecommendRequest(user_id="user-1", exclude_item_ids=["x" * 1000] * 10_000)
    with serving() as served:
        served.hold(4)
        served.until(in_flight=2, waiting=2)
        for _ in range(5):
            refusal(served.stub, large)
        served.servicer.release.set()
        assert [call.result(10).rung for call in served.held] == [gateway_pb2.RUNG_FULL] * 4
        # And the connection is as good as new.
        assert served.stub.Recommend(large, timeout=10).rung == gateway_pb2.RUNG_FULL


def test_events_and_status_are_answered_when_questions_have_no_room() -> None:
    with serving() as served:
        served.hold(4)
        served.until(in_flight=2, waiting=2)
        assert served.stub.RecordEvents(gateway_pb2.RecordEventsRequest(), timeout=10).accepted_count == 1
        served.stub.GetStatus(gateway_pb2.RecommendationServiceGetStatusRequest(), timeout=10)


def test_refusals_need_no_worker_and_status_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer threads than may work and wait: the case that the real number of threads rules out.
    monkeypatch.setattr(admission_module, "SPARE_THREAD_COUNT", -60)
    with serving(max_concurrency=16, max_waiting=0) as served:
        size = served.admission.workers.size
        assert size == 28
        for lane in served.admission.gate.lanes:
            lane.limit.value = 100  # type: ignore[misc]
        served.hold(size)
        served.until(in_flight=size)
        refusal(served.stub, QUESTION)
        assert served.refused(reason="no_thread", priority="") == 1
        served.stub.GetStatus(gateway_pb2.RecommendationServiceGetStatusRequest(), timeout=10)


def test_a_caller_that_goes_away_while_it_waits_leaves_nothing_behind() -> None:
    with serving() as served:
        served.hold(4)
        served.until(in_flight=2, waiting=2)
        for call in served.held[2:]:
            call.cancel()
        served.servicer.release.set()
        served.until(in_flight=0)
        deadline = time.monotonic() + 10
        while served.admission.workers.outstanding_count:
            assert time.monotonic() < deadline
            time.sleep(0.002)


def test_the_next_in_line_is_answered_when_a_place_is_free() -> None:
    with serving(max_concurrency=1, max_waiting=1) as served:
        served.hold(1)
        served.until(in_flight=1)
        served.hold(1)
        served.until(in_flight=1, waiting=1)
        time.sleep(0.02)
        served.servicer.release.set()
        assert [call.result(10).rung for call in served.held] == [gateway_pb2.RUNG_FULL] * 2
        waited = served.registry.get_sample_value("twostage_gateway_queue_seconds_count", {"lane": "answers"})
        assert waited == 1
