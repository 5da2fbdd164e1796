from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.limit import FixedLimit, GradientLimit, LimitPolicy
from tests.unit.gateway.admission.simulated_server import Clock, simulate

SERVICE_SECONDS = 0.01


def make(clock: Clock, **policy: float) -> GradientLimit:
    return GradientLimit(LimitPolicy(**policy), clock=clock, draw=lambda: 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("server_count", [2, 4, 16])
def test_three_times_the_load_is_worked_off_at_capacity_and_near_the_quiet_latency(server_count: int) -> None:
    clock = Clock()
    limit = make(clock)
    capacity = server_count / SERVICE_SECONDS
    run = simulate(
        limit,
        clock,
        server_count=server_count,
        service_seconds=lambda _: SERVICE_SECONDS,
        rate=lambda _: 3 * capacity,
        seconds=30,
    )
    assert run.rate(10, 30) == pytest.approx(capacity, rel=0.03)
    # The optimum is one request to a server; below it servers idle, above it requests wait.
    assert server_count <= run.limit(10, 30) <= max(3 * server_count, 10)
    assert run.latency(10, 30) < 4.5 * SERVICE_SECONDS
    assert run.refused_count > 1.9 * len(run.finished_at)


@pytest.mark.parametrize("jitter", ["exponential", "lognormal", "pareto"])
def test_jitter_does_not_make_it_collapse(jitter: str) -> None:
    generator = random.Random(7)
    draws: dict[str, Callable[[], float]] = {
        "exponential": lambda: generator.expovariate(1.0),
        "lognormal": lambda: generator.lognormvariate(-0.5, 1.0),
        "pareto": lambda: min(30.0, generator.paretovariate(1.5)) / 2.7,
    }
    draw = draws[jitter]
    clock = Clock()
    limit = make(clock)
    run = simulate(
        limit,
        clock,
        server_count=8,
        service_seconds=lambda _: SERVICE_SECONDS * draw(),
        rate=lambda _: 2400,
        seconds=60,
    )
    assert min(run.limits) >= limit.policy.least
    assert run.limit(10, 60) > 8
    # In the mean over any ten seconds too.
    assert all(run.rate(start, start + 10) > 0.88 * 800 for start in range(10, 60, 10))


def test_it_follows_a_slowdown_and_recovers_from_it() -> None:
    clock = Clock()
    limit = make(clock)
    run = simulate(
        limit,
        clock,
        server_count=8,
        service_seconds=lambda now: 0.03 if 20 <= now < 40 else 0.01,
        rate=lambda _: 2400,
        seconds=80,
    )
    assert run.rate(25, 40) == pytest.approx(800 / 3, rel=0.06)
    assert run.latency(25, 40) < 5 * 0.03
    assert run.rate(41, 80) == pytest.approx(800, rel=0.03)
    assert run.latency(60, 80) < 5 * 0.01


def test_an_overload_that_lasts_does_not_become_the_measure() -> None:
    clock = Clock()
    limit = make(clock)
    run = simulate(
        limit,
        clock,
        server_count=4,
        service_seconds=lambda _: SERVICE_SECONDS,
        rate=lambda _: 1200,
        seconds=200,
    )
    # Five minutes of it: with a moving average as the measure the limit would stand at its bound of 64.
    assert run.limit(180, 200) < 12
    # The spells in which it measures cost little.
    assert run.rate(20, 200) > 0.98 * 400


def test_a_limit_that_is_hardly_used_returns_to_its_start() -> None:
    clock = Clock()
    limit = make(clock)
    overload = 20.0
    run = simulate(
        limit,
        clock,
        server_count=4,
        service_seconds=lambda _: SERVICE_SECONDS,
        rate=lambda now: 1200 if now < overload else 80,
        seconds=40,
    )
    assert run.limit(10, 20) < 12
    assert limit.value == limit.policy.start


def test_stages_that_hang_under_a_light_load_do_not_shrink_it() -> None:
    clock = Clock()
    limit = make(clock)
    simulate(
        limit,
        clock,
        server_count=64,
        service_seconds=lambda now: 0.4 if now > 10 else 0.01,
        rate=lambda _: 5,
        seconds=15,
        whole=lambda now: now < 10,
    )
    assert limit.value == limit.policy.start


def test_answers_of_less_than_the_whole_work_do_not_become_the_quiet_latency() -> None:
    clock = Clock()
    limit = make(clock)
    simulate(
        limit,
        clock,
        server_count=4,
        service_seconds=lambda now: 0.01 if now < 10 else 0.001,
        rate=lambda _: 100,
        seconds=20,
        whole=lambda now: now < 10,
    )
    assert limit.quiet_seconds("kind") == pytest.approx(0.01, rel=0.05)


def test_kinds_are_compared_with_themselves() -> None:
    clock = Clock()
    limit = make(clock, least=2, start=10, most=20)

    def window(kind: str, seconds: float, in_flight: int) -> None:
        for _ in range(20):
            clock.now += 0.01
            limit.note(kind, seconds, in_flight, whole=True)

    window("cheap", 0.001, 1)
    window("dear", 0.1, 1)
    before = limit.value
    for _ in range(5):
        window("dear", 0.1, 8)
    assert limit.value >= before
    for _ in range(20):
        window("cheap", 0.1, 8)
    assert limit.value < before


def test_wrong_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 <= least <= start <= most, received 5, 4, 64"):
        LimitPolicy(least=5, start=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 10), st.integers(1, 200), st.booleans()), min_size=1, max_size=400
    ),
    st.integers(1, 8),
    st.integers(0, 40),
)
def test_it_stays_within_its_bounds_whatever_is_measured(
    samples: list[tuple[float, float, int, bool]], least: int, more: int
) -> None:
    clock = Clock()
    limit = make(clock, least=least, start=least + more // 2, most=least + more, window_count=5, window_seconds=0.01)
    for wait, seconds, in_flight, whole in samples:
        clock.now += wait
        limit.note("kind", seconds, in_flight, whole=whole)
        assert least <= limit.value <= least + more


def test_a_fixed_limit_learns_how_long_work_takes() -> None:
    limit = FixedLimit(8)
    assert limit.service_seconds == 0
    for _ in range(200):
        limit.note("kind", 0.02, 1, whole=True)
    assert limit.value == 8
    assert limit.service_seconds == pytest.approx(0.02)
