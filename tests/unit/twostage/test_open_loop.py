"""The load's clock runs from the moment a request is due, over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from twostage.load_processes import generators
from twostage.open_loop import REFUSED, LoadResult, Outcome, run_load
from twostage.v1 import gateway_pb2, gateway_pb2_grpc


class StallingServicer(gateway_pb2_grpc.RecommendationServiceServicer):
    """Stalls once for 300 ms, with everything that arrives meanwhile; afterwards it fails every fifth request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def Recommend(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        with self._lock:
            self._count += 1
            if self._count == 1:
                time.sleep(0.3)
            if request.user_id == "refused":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
        return gateway_pb2.RecommendResponse(rung=gateway_pb2.RUNG_FULL)


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(StallingServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        yield channel
    server.stop(None).wait()


@pytest.fixture
def address() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(StallingServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_stall_shows_in_every_request_that_was_due_meanwhile(channel: grpc.Channel) -> None:
    requests = [gateway_pb2.RecommendRequest()]
    result = run_load(channel, requests, rate=100, seconds=0.6, timeout_seconds=5)
    latencies = result.latencies["RUNG_FULL"]
    assert len(latencies) == result.due_count == 60
    # 30 requests were due in the 300 ms of the stall; a closed loop would have seen one slow one.
    assert sum(latency > 0.1 for latency in latencies) >= 15
    assert not result.errors


def test_failures_are_counted_by_code_and_not_as_latencies(channel: grpc.Channel) -> None:
    requests = [gateway_pb2.RecommendRequest(), gateway_pb2.RecommendRequest(user_id="refused")]
    result = run_load(channel, requests, rate=200, seconds=0.2, timeout_seconds=5)
    assert result.errors == {"RESOURCE_EXHAUSTED": 20}
    assert len(result.latencies["RUNG_FULL"]) == 20
    # Refusals have latencies of their own.
    assert len(result.error_latencies[REFUSED]) == 20
    assert set(result.error_latencies) == {REFUSED}


def test_goodput_counts_answers_within_the_deadline_from_when_they_were_due() -> None:
    result = LoadResult(
        due_count=8,
        rate=4.0,
        timeout_seconds=0.5,
        sending_seconds=1.75,
        outcomes=[
            Outcome(0.0, 0.1, "RUNG_FULL", True),
            Outcome(0.25, 0.5, "RUNG_FULL", True),
            Outcome(0.5, 0.51, "RUNG_FULL", True),
            Outcome(0.75, 0.2, "RUNG_POPULAR", True),
            Outcome(1.0, 0.01, REFUSED, False),
            Outcome(1.25, 0.02, REFUSED, False),
            Outcome(1.5, 0.5, "DEADLINE_EXCEEDED", False),
            Outcome(1.75, 0.1, "RUNG_FULL", True),
        ],
    )
    # Two seconds of load: four answers in time, three of them whole; one came too late.
    assert (result.goodput(), result.goodput("RUNG_FULL"), result.goodput("RUNG_POPULAR")) == (2.0, 1.5, 0.5)
    assert result.in_time() == 4
    assert result.errors == {REFUSED: 2, "DEADLINE_EXCEEDED": 1}
    assert result.error_latencies == {REFUSED: [0.01, 0.02], "DEADLINE_EXCEEDED": [0.5]}
    assert result.sent_per_second == pytest.approx(4.0)


def test_a_generator_that_does_not_keep_up_shows() -> None:
    result = LoadResult(due_count=100, rate=100.0, sending_seconds=1.99)
    assert result.sent_per_second == pytest.approx(50.0)


def test_several_processes_offer_the_rate_together(address: str) -> None:
    requests = [gateway_pb2.RecommendRequest(user_id=name) for name in ("a", "b", "c", "refused")]
    with generators(address, requests, process_count=2) as made:
        result = made.run(rate=100, seconds=0.8, timeout_seconds=5)
        again = made.run(rate=20, seconds=0.2, timeout_seconds=5)
    assert (result.due_count, result.rate, len(result.outcomes)) == (80, 100, 80)
    assert result.errors == {REFUSED: 20}
    assert (again.due_count, len(again.outcomes)) == (4, 4)
    assert result.generator_cpu_seconds > 0
