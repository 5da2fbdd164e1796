from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.breaker import Breaker, BreakerPolicy, Ticket

POLICY = BreakerPolicy()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def is_open(breaker: Breaker) -> bool:
    """Asked anew each time: a property looks constant to a type checker."""
    return breaker.is_open


def ask(breaker: Breaker, clock: Clock, *, fails: bool, seconds: float = 0.005) -> bool:
    """One call after the other; False when it was not let through."""
    ticket = breaker.admit()
    if ticket is None:
        return False
    clock.now += seconds
    if fails:
        breaker.failed(ticket, "unavailable, gone")
    else:
        breaker.answered(ticket)
    return True


def open_up(breaker: Breaker, clock: Clock) -> None:
    while not is_open(breaker):
        assert ask(breaker, clock, fails=True)


def test_a_run_of_failures_opens_it(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(POLICY.run_count - 1):
        ask(breaker, clock, fails=True)
    assert not is_open(breaker)
    ask(breaker, clock, fails=False)
    for _ in range(POLICY.run_count - 1):
        ask(breaker, clock, fails=True)
    assert not is_open(breaker)
    ask(breaker, clock, fails=True)
    assert is_open(breaker)
    assert breaker.why == "unavailable, gone"
    assert breaker.admit() is None


def test_half_of_the_window_failing_opens_it_without_any_run(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    asked = 0
    while ask(breaker, clock, fails=asked % 2 == 0):
        asked += 1
    assert asked == 2 * POLICY.window_failure_count - 1


def test_a_quarter_failing_leaves_it_closed(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    assert all(ask(breaker, clock, fails=position % 4 == 0) for position in range(2000))


def test_old_failures_are_forgotten(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(100):
        ask(breaker, clock, fails=True)
        clock.now += POLICY.memory_seconds + 1
    assert not is_open(breaker)


def test_silence_of_several_waiting_calls_opens_it_before_any_of_them_has_failed(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(POLICY.silent_count):
        assert breaker.admit() is not None
    clock.now += POLICY.silent_seconds + 0.01
    assert breaker.admit() is None
    assert breaker.why == "silent for 260 ms"


def test_few_waiting_calls_are_not_silence_nor_are_many_of_which_one_is_answered_now_and_then(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(POLICY.silent_count - 1):
        assert breaker.admit() is not None
    clock.now += 60
    last = breaker.admit()
    assert last is not None
    for _ in range(50):
        clock.now += POLICY.silent_seconds / 2
        breaker.answered(last)
        last = breaker.admit()
        assert last is not None


def test_a_stage_that_is_always_slow_is_not_silent(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(100):
        ask(breaker, clock, fails=False, seconds=0.1)
    tickets = [breaker.admit() for _ in range(POLICY.silent_count)]
    clock.now += 0.9
    assert None not in [*tickets, breaker.admit()]


def test_calls_beyond_the_patient_ones_are_not_given_all_their_time(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    granted = []
    for _ in range(POLICY.patient_count + 2):
        ticket = breaker.admit()
        assert ticket is not None
        granted.append(ticket.patience_seconds)
    assert granted == [float("inf")] * POLICY.patient_count + [POLICY.patience_seconds] * 2


def test_of_a_slow_stage_that_answers_nobody_any_more_late_calls_count_and_are_silence(clock: Clock) -> None:
    # A call has 0.95 s, less than three times what answers take, so that each alone says nothing.
    one, many = Breaker(clock=clock), Breaker(clock=clock)
    for _ in range(20):
        ask(one, clock, fails=False, seconds=0.4)
    clock.now += 60
    hung_at = clock.now
    while (ticket := one.admit()) is not None:
        assert clock.now - hung_at < 60
        clock.now += 0.95
        one.failed(ticket, "late, no answer within 950 ms", late_after_seconds=0.95)
    assert 4.0 < clock.now - hung_at < 12.0
    for _ in range(20):
        ask(many, clock, fails=False, seconds=0.4)
    hung_at, waiting = clock.now, [many.admit() for _ in range(POLICY.silent_count)]
    while (ticket := many.admit()) is not None:
        assert clock.now - hung_at < 60
        waiting.append(ticket)
        clock.now += 0.95 / POLICY.silent_count
        late = waiting.pop(0)
        assert late is not None
        many.failed(late, "late, no answer within 950 ms", late_after_seconds=0.95)
    assert 4.0 < clock.now - hung_at < 6.0


def test_trials_teach_that_a_stage_is_slow_and_not_silent(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(20):
        ask(breaker, clock, fails=False, seconds=0.01)
    # Forty requests a second, each answered after 0.3 s from now on.
    waiting: list[tuple[float, Ticket]] = []
    answers: list[bool] = []
    for _ in range(8 * 40):
        while waiting and waiting[0][0] <= clock.now:
            breaker.answered(waiting.pop(0)[1])
        ticket = breaker.admit()
        if ticket is not None:
            waiting.append((clock.now + 0.3, ticket))
        elif breaker.seconds_to_trial() == 0 and len(answers) % 12 == 0:
            breaker.trial_answered(0.3)
        answers.append(ticket is not None)
        clock.now += 0.025
    assert changes([(0.0, answer) for answer in answers]) == 2
    assert all(answers[3 * 40 :])


def test_a_call_that_had_too_little_time_says_nothing(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(20):
        ask(breaker, clock, fails=False, seconds=0.1)
    for _ in range(50):
        ticket = breaker.admit()
        assert ticket is not None
        assert not breaker.failed(ticket, "late", late_after_seconds=0.2)
    for _ in range(POLICY.run_count):
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket, "late", late_after_seconds=0.4)
    assert is_open(breaker)


def test_it_closes_when_enough_trials_in_a_row_are_answered(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    open_up(breaker, clock)
    assert breaker.seconds_to_trial() == pytest.approx(POLICY.rest_seconds)
    clock.now += POLICY.rest_seconds
    assert breaker.seconds_to_trial() == 0
    assert not breaker.trial_answered()
    breaker.trial_failed("late, again")
    assert breaker.why == "late, again"
    assert breaker.seconds_to_trial() == pytest.approx(2 * POLICY.rest_seconds)
    assert [breaker.trial_answered() for _ in range(POLICY.proof_count)] == [False, False, True]
    assert not is_open(breaker)
    assert breaker.admit() is not None


def test_calls_of_before_it_opened_say_nothing_after_it_closed(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    hanging = [breaker.admit() for _ in range(8)]
    clock.now += 1
    assert breaker.admit() is None
    for _ in range(POLICY.proof_count):
        breaker.trial_answered()
    for ticket in hanging:
        assert ticket is not None
        breaker.failed(ticket, "late")
    assert not is_open(breaker)
    # And they are waited for no more.
    assert [breaker.admit() for _ in range(3)] != [None] * 3


def test_relapses_are_longer_and_end_to_grow_at_a_bound(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    rests, proofs = [], []
    for _ in range(8):
        open_up(breaker, clock)
        rests.append(round(breaker.seconds_to_trial(), 6))
        clock.now += rests[-1]
        proofs.append(1)
        while not breaker.trial_answered():
            proofs[-1] += 1
    assert rests == [0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert proofs == [3, 6, 12, 12, 12, 12, 12, 12]
    clock.now += POLICY.relapse_seconds
    open_up(breaker, clock)
    assert breaker.seconds_to_trial() == pytest.approx(POLICY.rest_seconds)


def simulate(
    clock: Clock, breaker: Breaker, is_down: Callable[[float], bool], seconds: float, rate: float = 100.0
) -> list[tuple[float, bool]]:
    """Requests one after the other at a rate, trials between them as circuits make them; True was answered in full."""
    answers: list[tuple[float, bool]] = []
    start = clock.now
    next_proof = 0.0
    while clock.now < start + seconds:
        if is_open(breaker) and breaker.seconds_to_trial() == 0 and clock.now >= next_proof:
            if is_down(clock.now - start):
                breaker.trial_failed("unavailable, gone")
            else:
                breaker.trial_answered()
                next_proof = clock.now + 0.02
        ticket = breaker.admit()
        down = is_down(clock.now - start)
        if ticket is not None and down:
            breaker.failed(ticket, "unavailable, gone")
        elif ticket is not None:
            breaker.answered(ticket)
        answers.append((clock.now - start, ticket is not None and not down))
        clock.now += 1 / rate
    return answers


def changes(answers: list[tuple[float, bool]]) -> int:
    return sum(before != after for (_, before), (_, after) in pairwise(answers))


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_the_rung_does_not_alternate_while_a_stage_is_marginal(clock: Clock, share: float) -> None:
    generator = random.Random(7)
    answers = simulate(clock, Breaker(clock=clock), lambda _: generator.random() < share, 60)
    # Without a breaker half of the 6,000 requests would be followed by one on the other rung (at a share of 0.5).
    assert changes(answers) < 60


@given(up_after=st.floats(0.0, 20.0), rate=st.sampled_from([1.0, 20.0, 200.0]))
def test_it_is_back_within_a_second_of_recovery_and_before_that_stays_out(up_after: float, rate: float) -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    open_up(breaker, clock)
    # Trials do not wait for requests; here they are looked for at a rate of their own.
    answers = simulate(clock, breaker, lambda now: now < up_after, up_after + 3, rate=max(rate, 50.0))
    assert not any(full for at, full in answers if at < up_after)
    assert all(full for at, full in answers if at > up_after + 1.0)
    assert changes(answers) <= 1


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["admit", "answered", "failed", "left", "proof", "disproof"]), st.floats(0, 30)),
        max_size=200,
    )
)
def test_whatever_happens_it_lets_calls_through_exactly_while_closed_and_can_always_close(
    steps: list[tuple[str, float]],
) -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    tickets = []
    for step, seconds in steps:
        clock.now += seconds
        if step == "admit":
            was_open = is_open(breaker)
            ticket = breaker.admit()
            assert (ticket is None) == is_open(breaker)
            assert not (was_open and ticket)
            if ticket is not None:
                tickets.append(ticket)
        elif step == "proof" and is_open(breaker):
            breaker.trial_answered()
        elif step == "disproof" and is_open(breaker):
            breaker.trial_failed("late")
        elif tickets and step in ("answered", "left"):
            getattr(breaker, step)(tickets.pop())
        elif tickets and step == "failed":
            breaker.failed(tickets.pop(), "late")
        assert 0 <= breaker.seconds_to_trial() <= POLICY.longest_rest_seconds
    for _ in range(POLICY.most_proof_count):
        breaker.trial_answered()
    assert not is_open(breaker)
    # Those that still wait may be silence, which the next call would find out.
    for ticket in tickets:
        breaker.left(ticket)
    assert breaker.admit() is not None


def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for _ in range(POLICY.run_count):
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket, "gone")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert is_open(breaker)
    assert 0 < breaker.seconds_to_trial() <= POLICY.rest_seconds


def test_letting_a_call_through_costs_microseconds() -> None:
    breaker = Breaker()
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(1000):
            ticket = breaker.admit()
            assert ticket is not None
            breaker.answered(ticket)
        rounds.append(time.perf_counter() - start)
    # About 2 us; ten times as much on a busy machine.
    assert min(rounds) / 1000 < 20e-6
