"""Rates of a sweep, and knees of curves that are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostage.errors import InvalidField
from twostage.load.result import REFUSED, LoadResult, Outcome
from twostage.load.sweep import MAX_RATE_COUNT, Sweep, knee_of, read_rates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20:100:20", [20, 40, 60, 80, 100]),
        ("20:100:+30", [20, 50, 80]),
        ("10:80:x2", [10, 20, 40, 80]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("5:5:1", [5]),
    ],
)
def test_rates_go_from_the_first_to_the_last(text: str, expected: list[float]) -> None:
    assert list(read_rates(text)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "5", "10:5:1", "0:5:1", "1:5:0", "1:5:x1", "1:5:x", "1:nan:1", "1:inf:x2", "1:2:-1"]
)
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="--sweep: expected FROM:TO:STEP"):
        read_rates(text)


def test_a_sweep_of_too_many_rates_is_refused() -> None:
    assert len(read_rates("1:100:1")) == MAX_RATE_COUNT
    with pytest.raises(InvalidField, match="expected at most 100 rates, received '1:101:1, which are 101'"):
        read_rates("1:101:1")


@pytest.mark.parametrize("capacity", [40.0, 100.0, 160.0])
def test_the_knee_of_a_queue_lies_before_it_is_full(capacity: float) -> None:
    rates = [10.0 * step for step in range(1, 21)]
    # M/M/1 below capacity, the deadline of a second above it.
    latencies = [1 / (capacity - rate) if rate < capacity - 1 else 1.0 for rate in rates]
    knee = knee_of(rates, latencies)
    assert knee is not None
    assert capacity * 0.7 <= knee < capacity


def test_a_curve_that_does_not_climb_has_no_knee() -> None:
    assert knee_of([10, 20, 30, 40], [0.010, 0.012, 0.011, 0.018]) is None
    assert knee_of([10, 20], [0.01, 1.0]) is None
    assert knee_of([10, 20, 30], [0.0, 0.0, 0.0]) is None


def test_one_slow_rate_below_a_lucky_one_is_where_the_climb_begins() -> None:
    assert knee_of([10, 20, 30, 40, 50], [0.01, 0.01, 0.9, 0.02, 1.0]) == 20


@given(st.lists(st.floats(1e-3, 10), min_size=3, max_size=20), st.floats(1e-3, 1e3))
def test_the_knee_is_a_rate_and_knows_no_units(latencies: list[float], factor: float) -> None:
    rates = [float(position + 1) for position in range(len(latencies))]
    knee = knee_of(rates, latencies)
    assert knee is None or knee in rates
    if knee is not None:
        assert knee_of([rate * 8 for rate in rates], latencies) == knee * 8


def offered(rate: float, in_time_count: int, latency_seconds: float) -> LoadResult:
    made = LoadResult(100, rate=rate, timeout_seconds=1.0)
    for position in range(100):
        answered = position < in_time_count
        made.record(Outcome(0.0, latency_seconds, "RUNG_FULL" if answered else REFUSED, answered))
    return made


def test_a_sweep_tells_what_was_kept_up_with_and_the_most_there_was() -> None:
    sweep = Sweep([offered(10, 100, 0.01), offered(20, 96, 0.02), offered(30, 80, 0.1), offered(40, 99, 0.1)])
    assert sweep.rates == [10, 20, 30, 40]
    # 30 was not kept up with, whatever came of 40.
    assert sweep.kept_up == 20
    assert sweep.peak == pytest.approx(39.6)
    # A p99 that was refused counts as the deadline.
    assert sweep.p99s == pytest.approx([0.01, 1.0, 1.0, 0.1], rel=1e-3)
    assert Sweep([offered(10, 50, 0.01)]).kept_up == 0.0
