from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.candidate_times import CandidateTimes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def learned(calls: list[tuple[int, float]], clock: Clock | None = None) -> CandidateTimes:
    times = CandidateTimes(clock=clock or Clock())
    for count, seconds in calls:
        times.record(count, seconds)
    return times


def test_a_line_is_learned_however_wild_a_fifth_of_the_calls_is() -> None:
    rng = np.random.default_rng(1)
    calls = []
    for _ in range(64):
        count = int(rng.integers(50, 1000))
        seconds = 0.002 + 0.00001 * count
        calls.append((count, seconds * rng.uniform(20, 50) if rng.random() < 0.2 else seconds))
    times = learned(calls)
    for count in (50, 500, 1000):
        assert times.seconds(count, 0.5) == pytest.approx(0.002 + 0.00001 * count, rel=0.05)
    # Of twenty calls four are wild.
    assert times.seconds(500, 0.95) > 5 * times.seconds(500, 0.5)
    most = times.most_candidates(0.007, 0.5)
    assert most == pytest.approx(500, rel=0.1)


def test_where_the_number_never_varied_half_of_the_time_grows_with_it() -> None:
    times = learned([(500, 0.010)] * 40)
    assert times.seconds(500) == pytest.approx(0.010)
    assert times.seconds(0) == pytest.approx(0.005)
    assert times.most_candidates(0.0075) == pytest.approx(250, abs=1)
    assert times.most_candidates(0.004) == 0


def test_nothing_is_known_until_enough_was_measured_nor_once_it_is_old() -> None:
    clock = Clock()
    times = learned([(500, 0.010)] * 19, clock)
    assert (times.seconds(500), times.most_candidates(0.001)) == (0.0, None)
    times.record(500, 0.010)
    clock.now = 1.0
    assert times.seconds(500) == pytest.approx(0.010)
    clock.now = 11.5
    assert times.seconds(500) == 0.0


def test_calls_that_were_given_up_count_for_a_second() -> None:
    clock = Clock()
    times = learned([(500, 0.010)] * 40, clock)
    for _ in range(10):
        times.record(500, 0.5, answered=False)
    clock.now = 0.6
    assert times.seconds(500) == pytest.approx(0.5)
    clock.now = 1.2
    assert times.seconds(500) == pytest.approx(0.010)


def test_what_was_slow_and_is_fast_again_is_taken_for_fast_within_two_seconds() -> None:
    clock = Clock()
    times = learned([(500, 0.5)] * 60, clock)
    clock.now = 0.6
    assert times.seconds(500) == pytest.approx(0.5)
    for _ in range(40):
        clock.now += 0.05
        times.record(500, 0.010)
    # Two seconds, at twenty calls a second.
    assert times.seconds(500) == pytest.approx(0.010)


@given(
    calls=st.lists(st.tuples(st.integers(1, 2000), st.floats(1e-4, 2)), min_size=20, max_size=64),
    counts=st.lists(st.integers(0, 2000), min_size=2, max_size=2),
    seconds=st.floats(1e-4, 2),
)
def test_more_candidates_never_take_less_and_what_fits_takes_no_longer(
    calls: list[tuple[int, float]], counts: list[int], seconds: float
) -> None:
    times = learned(calls)
    low, high = sorted(counts)
    assert 0 < times.seconds(low) <= times.seconds(high) or times.seconds(low) == 0
    most = times.most_candidates(seconds)
    if most:
        assert times.seconds(most) <= seconds * (1 + 1e-6)
        assert times.seconds(most + 2) >= seconds * (1 - 1e-6)
