from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from gateway import circuits
from gateway.circuits import Circuit
from gateway.engine.breaker import Breaker, BreakerPolicy
from gateway.engine.ladder import (
    NoCommonGeneration,
    StageFailure,
    StageLate,
    StageOverloaded,
    StageResting,
    StageUnavailable,
    StageWithoutGeneration,
)
from gateway.observer import Observer
from twostage.errors import InvalidField

RUN = BreakerPolicy().run_count


@dataclass
class Stage:
    """Fails as it is told, and counts who asks."""

    failure: Exception | None = None
    calls: int = 0
    at_once: int = 0
    most_at_once: int = 0
    seconds: list[float] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    hold: threading.Event | None = None

    def ask(self, seconds: float) -> str:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.seconds.append(seconds)
        self.threads.add(threading.current_thread().name)
        try:
            if self.hold is not None and not self.hold.wait(seconds):
                raise StageLate("ranking", f"no answer within {seconds * 1000:.0f} ms")
            if self.failure is not None:
                raise self.failure
            return "answer"
        finally:
            self.at_once -= 1


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def circuit(registry: CollectorRegistry) -> Iterator[Circuit]:
    circuit = Circuit("ranking", Observer(registry))
    yield circuit
    circuit.close()


def fail(circuit: Circuit, stage: Stage, times: int = RUN) -> None:
    for _ in range(times):
        with pytest.raises(StageFailure):
            circuit.call(stage.ask, 0.5)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_answers_and_failures_pass_through(circuit: Circuit) -> None:
    assert circuit.call(Stage().ask, 0.5) == "answer"
    gone = StageUnavailable("ranking", "gone")
    with pytest.raises(StageUnavailable) as caught:
        circuit.call(Stage(gone).ask, 0.5)
    assert caught.value is gone


def test_after_a_run_of_failures_requests_are_told_why_and_nobody_of_them_asks(
    circuit: Circuit, registry: CollectorRegistry
) -> None:
    stage = Stage(StageUnavailable("ranking", "cannot be reached"))
    fail(circuit, stage)
    assert circuit.is_open
    for _ in range(50):
        with pytest.raises(StageResting) as caught:
            circuit.call(stage.ask, 0.5)
        assert caught.value.reason == (
            "ranking resting: not asked after failures, the last one: unavailable, cannot be reached"
        )
    assert stage.threads <= {"MainThread", "ranking trials"}
    sample = registry.get_sample_value
    assert sample("twostage_gateway_circuit_open", {"stage": "ranking"}) == 1
    assert sample("twostage_gateway_circuit_openings_total", {"stage": "ranking"}) == 1


def test_trials_that_take_long_teach_how_long_the_stage_is_waited_for() -> None:
    breaker = Breaker(BreakerPolicy(patience_seconds=0.001))
    circuit = Circuit("ranking", breaker=breaker)
    fail(circuit, Stage(StageUnavailable("ranking", "cannot be reached")))

    def slowly(seconds: float) -> str:
        time.sleep(0.1)
        return f"within {seconds} s"

    with pytest.raises(StageResting):
        circuit.call(slowly, 0.5)
    until(lambda: not circuit.is_open)
    # Ten times what answers usually take.
    assert breaker.least_trial_seconds >= 10 * 0.08
    circuit.close()


def test_trials_find_out_by_themselves_that_the_stage_is_back(circuit: Circuit, registry: CollectorRegistry) -> None:
    stage = Stage(StageUnavailable("ranking", "cannot be reached"))
    fail(circuit, stage)
    until(lambda: stage.calls > RUN + 2)
    stage.failure = None
    # Nobody asks in the meantime.
    until(lambda: not circuit.is_open)
    assert circuit.call(stage.ask, 0.5) == "answer"
    until(lambda: registry.get_sample_value("twostage_gateway_circuit_open", {"stage": "ranking"}) == 0)
    assert stage.most_at_once == 1


def test_no_request_waits_for_a_trial_and_there_is_one_at_a_time(circuit: Circuit) -> None:
    stage = Stage(StageUnavailable("ranking", "cannot be reached"))
    fail(circuit, stage)
    stage.hold = threading.Event()
    until(lambda: stage.at_once == 1)
    start = time.monotonic()
    for _ in range(20):
        with pytest.raises(StageResting):
            circuit.call(stage.ask, 0.5)
    assert time.monotonic() - start < 0.2
    assert stage.at_once == 1
    stage.failure = None
    stage.hold.set()
    until(lambda: not circuit.is_open)


def test_a_hanging_stage_is_found_out_while_the_first_requests_still_wait(circuit: Circuit) -> None:
    stage = Stage(hold=threading.Event())
    failures: list[StageFailure] = []

    def call() -> None:
        try:
            circuit.call(stage.ask, 3.0)
        except StageFailure as failure:
            failures.append(failure)

    waiting = [threading.Thread(target=call) for _ in range(4)]
    for thread in waiting:
        thread.start()
    until(lambda: stage.at_once == 4)
    time.sleep(0.3)
    start = time.monotonic()
    with pytest.raises(StageResting, match="silent for"):
        circuit.call(stage.ask, 3.0)
    assert time.monotonic() - start < 0.5
    assert stage.hold is not None
    stage.hold.set()
    for thread in waiting:
        thread.join()
    assert not failures
    until(lambda: not circuit.is_open)


@pytest.mark.parametrize(
    "failure",
    [
        StageWithoutGeneration("ranking", "generation 2 is not loaded there"),
        NoCommonGeneration("ranking", "no generation in common"),
        StageOverloaded("ranking", "refuses work"),
        InvalidField("blend", "weights", "none"),
        KeyError("a bug"),
    ],
)
def test_what_says_nothing_against_the_stage_opens_nothing(circuit: Circuit, failure: Exception) -> None:
    for _ in range(60):
        with pytest.raises(type(failure)):
            circuit.call(Stage(failure).ask, 0.5)
    assert not circuit.is_open


def test_a_stage_that_answers_with_a_refusal_is_back(circuit: Circuit) -> None:
    stage = Stage(StageUnavailable("ranking", "cannot be reached"))
    fail(circuit, stage)
    stage.failure = StageWithoutGeneration("ranking", "generation 2 is not loaded there")
    until(lambda: not circuit.is_open)


def test_a_trial_has_time_even_where_its_request_had_none(circuit: Circuit) -> None:
    stage = Stage(StageUnavailable("ranking", "cannot be reached"))
    fail(circuit, stage)
    with pytest.raises(StageResting):
        circuit.call(stage.ask, 0.004)
    stage.seconds.clear()
    until(lambda: bool(stage.seconds))
    assert stage.seconds[0] == pytest.approx(BreakerPolicy().patience_seconds)


def test_an_old_question_is_let_go_of_and_a_new_one_asks_for_trials_again(
    circuit: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "QUESTION_SECONDS", 0.05)
    stage = Stage(StageUnavailable("ranking", "cannot be reached"))
    kept = weakref.ref(stage)
    fail(circuit, stage)
    until(lambda: not any(thread.name == "ranking trials" for thread in threading.enumerate()))
    del stage
    gc.collect()
    assert kept() is None
    whole = Stage()
    with pytest.raises(StageResting):
        circuit.call(whole.ask, 0.5)
    monkeypatch.setattr(circuits, "QUESTION_SECONDS", 10.0)
    until(lambda: not circuit.is_open or not _asks_again(circuit, whole))


def _asks_again(circuit: Circuit, stage: Stage) -> bool:
    try:
        circuit.call(stage.ask, 0.5)
    except StageResting:
        return True
    return False


def test_closing_ends_the_trials(registry: CollectorRegistry) -> None:
    circuit = Circuit("retrieval", Observer(registry), Breaker())
    fail(circuit, Stage(StageUnavailable("retrieval", "cannot be reached")))
    circuit.close()
    until(lambda: not any(thread.name == "retrieval trials" for thread in threading.enumerate()))
    with pytest.raises(StageResting):
        circuit.call(Stage().ask, 0.5)
    assert not any(thread.name == "retrieval trials" for thread in threading.enumerate())
