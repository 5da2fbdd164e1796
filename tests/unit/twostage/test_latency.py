from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostage.latency import LatencyWindow


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    latencies=st.lists(st.floats(1e-4, 10), min_size=20, max_size=300),
    share=st.floats(0.01, 1),
)
def test_quantiles_are_the_nearest_rank_of_the_newest_calls(latencies: list[float], share: float) -> None:
    clock = Clock()
    window = LatencyWindow(size=64, clock=clock)
    for latency in latencies:
        window.record(latency)
    clock.now = 1.0
    expected = np.quantile(np.array(latencies[-64:]), share, method="inverted_cdf")
    assert window.quantile(share) == pytest.approx(expected)


def test_nothing_is_known_until_enough_was_measured_nor_once_it_is_old() -> None:
    clock = Clock()
    window = LatencyWindow(seconds=10, clock=clock)
    for _ in range(19):
        window.record(0.1)
    assert window.quantile(0.5) is None
    window.record(0.1)
    clock.now = 1.0
    assert window.quantile(0.5) == 0.1
    clock.now = 10.5
    assert window.quantile(0.5) is None


def test_a_change_shows_after_as_many_calls_as_the_window_is_long() -> None:
    window = LatencyWindow(size=64)
    for _ in range(1_000):
        window.record(1.0)
    assert window.quantile(0.5) == 1.0
    for _ in range(64):
        window.record(0.001)
    assert window.quantile(0.95) == 0.001


def test_whoever_wants_to_know_is_told_the_quantiles() -> None:
    told: list[tuple[float, float]] = []
    window = LatencyWindow(on_measured=lambda p50, p95: told.append((p50, p95)))
    for number in range(100):
        window.record(number / 100)
    assert window.quantile(0.5) == 0.49
    assert told == [(0.49, 0.94)]


def test_many_threads_may_record_and_ask_at_once() -> None:
    window = LatencyWindow(size=128)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for number in range(2_000):
                window.record(0.001 + number % 7 / 1000)
                known = window.quantile(0.95)
                assert known is None or 0.001 <= known <= 0.007
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
