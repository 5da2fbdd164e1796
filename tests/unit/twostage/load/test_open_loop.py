"""The load's clock runs from the moment a request is due, over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from tests.unit.twostage.load.served import served
from twostage.gateway_access import GatewayAccess
from twostage.load.open_loop import run_load
from twostage.load.processes import generators
from twostage.load.requests import BROKEN, REJECTED, LoadRequest
from twostage.load.result import REFUSED
from twostage.load.session import LoadSession
from twostage.v1 import gateway_pb2, gateway_pb2_grpc


class StallingServicer(gateway_pb2_grpc.RecommendationServiceServicer):
    """Stalls once for 300 ms, with everything that arrives meanwhile; afterwards it fails every fifth request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.event_ids: list[str] = []

    def Recommend(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        with self._lock:
            self.count += 1
            if self.count == 1:
                time.sleep(0.3)
            if request.user_id == "refused":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
        answer = gateway_pb2.RecommendResponse(rung=gateway_pb2.RUNG_FULL)
        if request.user_id == "empty":
            return answer
        items = [gateway_pb2.Recommendation(item_id=str(item)) for item in range(request.count or 20)]
        answer.recommendations.extend(items[:-2] if request.user_id == "short" else items)
        if request.user_id == "short":
            answer.shortfall.missing_count = 2
        return answer

    def RecordEvents(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecordEventsRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecordEventsResponse:
        del context
        with self._lock:
            self.event_ids += [event.event_id for event in request.events]
        return gateway_pb2.RecordEventsResponse(
            accepted_count=len(request.events) - (request.events[0].action == "odd")
        )


@pytest.fixture
def servicer() -> StallingServicer:
    return StallingServicer()


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        yield channel


@pytest.fixture
def address(servicer: StallingServicer) -> Iterator[str]:
    with served(servicer) as address:
        yield address


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


def test_several_processes_offer_the_rate_together_and_keep_the_kinds(address: str) -> None:
    requests = [LoadRequest(f"of {name}", gateway_pb2.RecommendRequest(user_id=name)) for name in ("a", "b", "refused")]
    requests.append(LoadRequest("of a", gateway_pb2.RecommendRequest(user_id="a")))
    with generators(address, requests, process_count=2) as made:
        result = made.run(rate=100, seconds=0.8, timeout_seconds=5)
        again = made.run(rate=20, seconds=0.2, timeout_seconds=5, keep_outcomes=False)
    assert (result.due_count, result.rate, len(result.outcomes or ())) == (80, 100, 80)
    assert result.errors == {REFUSED: 20}
    assert (result.only("of a").due_count, result.only("of refused").errors) == (40, {REFUSED: 20})
    assert (again.due_count, again.tally().histogram.count, again.outcomes) == (4, 4, None)
    assert result.generator_cpu_seconds > 0


def test_without_outcomes_counts_and_histograms_are_the_same(channel: grpc.Channel) -> None:
    requests = [gateway_pb2.RecommendRequest(), gateway_pb2.RecommendRequest(user_id="refused")]
    result = run_load(channel, requests, rate=200, seconds=0.2, timeout_seconds=5, keep_outcomes=False)
    assert result.outcomes is None
    assert (result.errors, result.in_time("RUNG_FULL")) == ({REFUSED: 20}, 20)
    assert result.tally(answered=True).histogram.count == 20
    with pytest.raises(ValueError, match="outcomes: expected those of each request"):
        _ = result.latencies


def test_an_answer_that_is_short_without_saying_so_is_an_error_and_one_that_says_so_is_not(
    channel: grpc.Channel,
) -> None:
    requests = [gateway_pb2.RecommendRequest(user_id=name, count=7) for name in ("empty", "short", "a")]
    result = run_load(channel, requests, rate=150, seconds=0.1, timeout_seconds=5)
    assert result.errors == {BROKEN: 5}
    assert result.tally(answered=True).shortfall_count == 5
    assert result.in_time() == 10


def test_events_are_new_ones_each_time_they_are_sent(channel: grpc.Channel, servicer: StallingServicer) -> None:
    event = gateway_pb2.Event(user_id="a", item_id="b", action="rated")
    odd = gateway_pb2.Event(user_id="a", item_id="b", action="odd")
    requests = [
        LoadRequest("events", gateway_pb2.RecordEventsRequest(events=[event, event])),
        LoadRequest("others", gateway_pb2.RecordEventsRequest(events=[odd])),
    ]
    result = run_load(channel, requests, rate=100, seconds=0.1, timeout_seconds=5)
    assert (result.errors, result.in_time("ACCEPTED"), result.kinds) == ({REJECTED: 5}, 5, ["events", "others"])
    assert len(set(servicer.event_ids)) == 15


def test_a_name_of_several_addresses_is_asked_at_all_of_them(servicer: StallingServicer, address: str) -> None:
    other = StallingServicer()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(other, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        session = LoadSession(
            f"ipv4:{address},127.0.0.1:{port}", GatewayAccess(), [gateway_pb2.RecommendRequest()], 5.0
        )
        result = session.one(100, 0.8)
    finally:
        server.stop(None).wait()
    assert result.in_time() == 80
    # Until both are connected all go to the first.
    assert servicer.count >= 20
    assert other.count >= 20
