from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.token_buckets import TokenBuckets
from tests.unit.gateway.admission.simulated_server import Clock
from twostage.rpc.caller import ANYBODY, Caller


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(clock=clock)
    caller = Caller("shop", requests_per_second=4.0, burst=3)
    assert [buckets.take(caller) for _ in range(3)] == [0.0] * 3
    assert buckets.take(caller) == pytest.approx(0.25)
    clock.now = 0.2
    assert buckets.take(caller) == pytest.approx(0.05)
    clock.now = 0.25
    assert buckets.take(caller) == 0.0
    assert buckets.take(caller) == pytest.approx(0.25)
    clock.now = 1_000.0
    assert [buckets.take(caller) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.25)]


def test_clients_do_not_share_and_those_without_a_name_do() -> None:
    buckets = TokenBuckets(clock=Clock())
    assert buckets.take(Caller("a", requests_per_second=1)) == 0.0
    assert buckets.take(Caller("b", requests_per_second=1)) == 0.0
    assert buckets.take(Caller("a", requests_per_second=1)) > 0
    assert buckets.take(Caller("", priority=1, requests_per_second=1)) == 0.0
    assert buckets.take(Caller("", priority=2, requests_per_second=1)) > 0


def test_no_bucket_is_kept_for_callers_without_a_rate() -> None:
    buckets = TokenBuckets(clock=Clock())
    assert all(buckets.take(ANYBODY) == 0.0 for _ in range(100))
    assert len(buckets) == 0


def test_the_client_that_asked_longest_ago_is_forgotten_when_there_are_too_many() -> None:
    buckets = TokenBuckets(clock=Clock(), max_client_count=2)
    first, second, third = (Caller(name, requests_per_second=1) for name in "abc")
    assert buckets.take(first) == buckets.take(second) == 0.0
    assert buckets.take(first) > 0
    assert buckets.take(third) == 0.0
    assert len(buckets) == 2
    assert buckets.take(first) > 0
    assert buckets.take(second) == 0.0


def test_a_new_rate_counts_at_once() -> None:
    clock = Clock()
    buckets = TokenBuckets(clock=clock)
    for _ in range(10):
        assert buckets.take(Caller("a", requests_per_second=1, burst=20)) == 0.0
    assert [buckets.take(Caller("a", requests_per_second=10, burst=2)) for _ in range(3)] == [
        0.0,
        0.0,
        pytest.approx(0.1),
    ]


def test_a_rate_of_nothing_lets_the_burst_through_and_no_more() -> None:
    buckets = TokenBuckets(clock=Clock())
    caller = Caller("a", requests_per_second=0.0, burst=1)
    assert buckets.take(caller) == 0.0
    assert buckets.take(caller) == math.inf


@given(st.lists(st.floats(0, 2), max_size=100), st.floats(0.1, 20), st.integers(1, 10))
def test_never_more_than_burst_and_rate_allow(waits: list[float], rate: float, burst: int) -> None:
    clock = Clock()
    buckets = TokenBuckets(clock=clock)
    caller = Caller("a", requests_per_second=rate, burst=burst)
    taken: list[float] = []
    for wait in waits:
        clock.now += wait
        if buckets.take(caller) == 0.0:
            taken.append(clock.now)
        for start in taken:
            within = sum(moment >= start for moment in taken)
            assert within <= burst + rate * (clock.now - start) + 1e-6


def test_threads_share_a_bucket_exactly() -> None:
    buckets = TokenBuckets(clock=Clock())
    caller = Caller("a", requests_per_second=1, burst=500)
    counts = [0] * 8

    def run(position: int) -> None:
        counts[position] = sum(buckets.take(caller) == 0.0 for _ in range(200))

    threads = [threading.Thread(target=run, args=(position,)) for position in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 500
