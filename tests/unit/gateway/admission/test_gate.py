from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from prometheus_client import CollectorRegistry

from gateway.admission.admission import Admission, AdmissionPolicy
from gateway.admission.gate import PREFIX, UNLIMITED
from twostage.errors import DeadlineSpent, Overloaded
from twostage.rpc import caller, request_event
from twostage.rpc.caller import Caller
from twostage.rpc.errors import to_status
from twostage.v1 import gateway_pb2

METHODS = [method.name for method in gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].methods]


class Context:
    """What the gate asks of a servicer's context."""

    def __init__(self, seconds: float | None = 1.0, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self.seconds = seconds
        self.metadata = metadata

    def time_remaining(self) -> float | None:
        return self.seconds

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def admission(registry: CollectorRegistry) -> Iterator[Admission]:
    admission = make(registry)
    yield admission
    admission.close()


@pytest.fixture(autouse=True)
def _nobody() -> Iterator[None]:
    yield
    caller.forget_current()


def make(registry: CollectorRegistry, **policy: int) -> Admission:
    return Admission(
        AdmissionPolicy(**{"max_concurrency": 2, "max_waiting": 0, **policy}),
        registry,
        default_seconds=1.0,
        longest_seconds=2.0,
    )


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"twostage_gateway_{name}", labels)


def test_every_method_has_a_cost_or_is_never_refused(admission: Admission) -> None:
    assert set(admission.gate.costs) == {f"{PREFIX}{name}" for name in METHODS if name not in UNLIMITED}


def test_status_is_told_when_there_is_no_room(admission: Admission) -> None:
    for lane in admission.gate.lanes:
        while lane.in_flight_count < lane.limit.value:
            lane.enter(9, lambda: 1.0)
    assert all(admission.gate.enter(f"{PREFIX}GetStatus", Context()) is None for _ in range(1000))


def test_questions_and_events_have_places_of_their_own(admission: Admission, registry: CollectorRegistry) -> None:
    gate = admission.gate
    # The limit starts at its least where it may be no more than 2.
    leaves = [gate.enter(f"{PREFIX}{name}", Context()) for name in ("Recommend", "SimilarItems")]
    for name in ("Recommend", "SimilarItems", "Explain"):
        with pytest.raises(Overloaded) as caught:
            gate.enter(f"{PREFIX}{name}", Context())
        assert 0 < caught.value.retry_after_seconds < 1
    leaves += [gate.enter(f"{PREFIX}{name}", Context()) for name in ("RecordEvents", "GetUser", "DeleteUser")]
    assert sample(registry, "admission_in_flight", lane="answers") == 2
    assert sample(registry, "admission_in_flight", lane="people") == 3
    assert sample(registry, "admission_limit", lane="answers") == 2
    assert sample(registry, "refused_total", lane="answers", reason="full", priority="5") == 3
    for leave in leaves:
        assert leave is not None
        leave()
    assert sample(registry, "admission_in_flight", lane="answers") == 0
    assert sample(registry, "admission_in_flight", lane="people") == 0


def test_a_caller_above_its_rate_is_refused_before_it_takes_a_place(
    admission: Admission, registry: CollectorRegistry
) -> None:
    caller.set_current(Caller("shop", priority=8, requests_per_second=0.5, burst=1))
    leave = admission.gate.enter(f"{PREFIX}Recommend", Context())
    assert leave is not None
    leave()
    with pytest.raises(Overloaded) as caught:
        admission.gate.enter(f"{PREFIX}RecordEvents", Context())
    assert 1.0 < caught.value.retry_after_seconds < 3.0
    assert admission.gate.enter(f"{PREFIX}GetStatus", Context()) is None
    assert sample(registry, "refused_total", lane="people", reason="rate", priority="8") == 1
    caller.set_current(Caller("other", requests_per_second=0.5))
    assert admission.gate.enter(f"{PREFIX}Recommend", Context()) is not None


@pytest.mark.parametrize("rate", [1e-9, 1e-12, 5e-324])
def test_a_rate_so_low_that_no_token_ever_comes_is_refused_like_any_other(admission: Admission, rate: float) -> None:
    caller.set_current(Caller("seldom", requests_per_second=rate, burst=1))
    leave = admission.gate.enter(f"{PREFIX}Recommend", Context())
    assert leave is not None
    leave()
    with pytest.raises(Overloaded) as caught:
        admission.gate.enter(f"{PREFIX}Recommend", Context())
    # What is sent of it can be written.
    assert to_status(caught.value).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 0.75 * 86_400 <= caught.value.retry_after_seconds <= 1.25 * 86_400


def test_one_whose_time_is_over_is_told_so(registry: CollectorRegistry) -> None:
    admission = make(registry, max_waiting=4)
    for _ in range(2):
        admission.gate.enter(f"{PREFIX}Recommend", Context())
    with pytest.raises(DeadlineSpent):
        admission.gate.enter(f"{PREFIX}Recommend", Context(0.0))
    admission.close()


def test_one_that_waited_says_so_in_its_event_and_one_that_was_refused_why(registry: CollectorRegistry) -> None:
    admission = make(registry, max_waiting=4)
    leaves = [admission.gate.enter(f"{PREFIX}Recommend", Context()) for _ in range(2)]
    facts, token = request_event.begin()
    with pytest.raises(Overloaded):
        admission.gate.enter(f"{PREFIX}Recommend", Context(0.05))
    request_event.end(token)
    assert facts == {"refused_because": "waited", "priority": 5}
    for leave in leaves:
        assert leave is not None
        leave()
    admission.close()


def test_only_answers_tell_how_long_the_work_takes(admission: Admission) -> None:
    answers = admission.gate.costs[f"{PREFIX}Recommend"].lane
    for rung in (None, "FULL"):
        for _ in range(200):
            _, token = request_event.begin()
            leave = admission.gate.enter(f"{PREFIX}Recommend", Context())
            if rung is not None:
                request_event.attach(rung=rung)
            assert leave is not None
            leave()
            request_event.end(token)
        if rung is None:
            assert answers.limit.service_seconds == 0


def test_there_are_threads_for_all_who_may_work_and_wait() -> None:
    policy = AdmissionPolicy(max_concurrency=10, max_waiting=20)
    assert policy.thread_count > 10 + 20 + 8 + 64


def test_the_priority_of_known_credentials_is_remembered_while_there_is_no_room(registry: CollectorRegistry) -> None:
    admission = make(registry, max_waiting=1)
    gate = admission.gate
    for _ in range(2):
        gate.enter(f"{PREFIX}Recommend", Context())
    known = admission.known
    key = (("x-api-key", "something secret"),)
    caller.set_current(Caller("low", priority=1))
    assert known.of(key) == 5
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.enter, f"{PREFIX}Recommend", Context(2.0))
        lane = gate.costs[f"{PREFIX}Recommend"].lane
        while not len(lane.room):
            time.sleep(0.001)
        with pytest.raises(Overloaded):
            gate.enter(f"{PREFIX}Recommend", Context(0.1, key))
        assert known.of(key) == 1
        assert known.of((("x-api-key", "another"),)) == 5
        assert "secret" not in repr(vars(known))
        assert isinstance(waiting.exception(10), Overloaded)
    admission.close()
