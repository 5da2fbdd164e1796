"""What ``twostage top`` makes of metrics; counted by prometheus_client itself, reckoned by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from twostage.top.figures import RECOMMEND, figures
from twostage.top.scrape import Sample, parse
from twostage.top.window import Window

RUNGS = "twostage_gateway_recommendations_total"


class Gateway:
    """The metrics of a gateway that did what the test says."""

    def __init__(self, address: str = "a:9100") -> None:
        self.address = address
        self.registry = CollectorRegistry()
        labels: Callable[..., dict[str, Any]] = lambda *names: {"labelnames": names, "registry": self.registry}  # noqa: E731
        self.requests = Counter("twostage_requests_total", "-", **labels("method", "code"))
        self.seconds = Histogram(
            "twostage_request_seconds", "-", **labels("method", "outcome"), buckets=(0.01, 0.1, 1.0)
        )
        self.rungs = Counter(RUNGS, "-", **labels("rung"))
        Gauge("twostage_build_info", "-", **labels("service")).labels("gateway").set(1)
        self.ready = Gauge("twostage_ready", "-", registry=self.registry)
        self.ready.set(1)
        self.generation = Gauge("twostage_generation", "-", **labels("state"))
        self.generation.labels("active").set(7)

    def answer(self, count: int, seconds: float, rung: str = "FULL") -> None:
        for _ in range(count):
            self.requests.labels(RECOMMEND, "OK").inc()
            self.seconds.labels(RECOMMEND, "ok").observe(seconds)
            self.rungs.labels(rung).inc()

    def at(self, seconds: float) -> Sample:
        return Sample(self.address, seconds, parse(generate_latest(self.registry).decode()))


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def window(*looks: list[Sample]) -> Window:
    made = Window(10.0)
    for samples in looks:
        made.add(samples)
    return made


def test_rates_are_of_what_happened_within_the_window(gateway: Gateway) -> None:
    gateway.answer(100, 0.005)
    first = gateway.at(0.0)
    gateway.answer(30, 0.005)
    gateway.answer(10, 0.5, "POPULAR")
    shown = figures(window([first], [gateway.at(10.0)]))
    assert shown.rungs == {"FULL": 3.0, "FEWER_CANDIDATES": 0, "RETRIEVAL_ORDER": 0, "CACHED": 0, "POPULAR": 1.0}
    assert [(method.name, method.rate) for method in shown.methods] == [("Recommend", 4.0)]
    assert shown.codes == {"OK": 4.0}


def test_percentiles_are_interpolated_within_their_bucket(gateway: Gateway) -> None:
    first = gateway.at(0.0)
    gateway.answer(80, 0.005)
    gateway.answer(20, 0.5)
    looked = window([first], [gateway.at(5.0)])
    # 50 of the 80 below 10 ms; 90: ten of the twenty between 100 ms and a second.
    assert looked.quantile("twostage_request_seconds", 0.5) == pytest.approx(0.01 * 50 / 80)
    assert looked.quantile("twostage_request_seconds", 0.9) == pytest.approx(0.1 + 0.9 * 10 / 20)
    assert math.isnan(looked.quantile("twostage_nothing", 0.5))


def test_what_lies_beyond_the_last_edge_is_told_as_that_edge(gateway: Gateway) -> None:
    first = gateway.at(0.0)
    gateway.answer(10, 7.0)
    assert window([first], [gateway.at(5.0)]).quantile("twostage_request_seconds", 0.99) == 1.0


def test_servers_are_added_up_and_one_that_began_anew_counts_from_nothing(gateway: Gateway) -> None:
    other = Gateway("b:9100")
    gateway.answer(50, 0.005)
    other.answer(1000, 0.005)
    first = [gateway.at(0.0), other.at(0.0)]
    gateway.answer(20, 0.005)
    restarted = Gateway("b:9100")
    restarted.answer(40, 0.005)
    assert window(first, [gateway.at(10.0), restarted.at(10.0)]).rates(RUNGS) == {"": pytest.approx(6.0)}


def test_one_that_began_anew_and_has_counted_further_than_before_counts_from_nothing_too(gateway: Gateway) -> None:
    Gauge("process_start_time_seconds", "-", registry=gateway.registry).set(1)
    gateway.answer(10, 0.005)
    first = gateway.at(0.0)
    restarted = Gateway()
    Gauge("process_start_time_seconds", "-", registry=restarted.registry).set(2)
    restarted.answer(30, 0.5)
    looked = window([first], [restarted.at(10.0)])
    assert looked.rates(RUNGS) == {"": pytest.approx(3.0)}
    assert looked.quantile("twostage_request_seconds", 0.1) == pytest.approx(0.1 + 0.9 * 0.1)


def test_old_looks_leave_the_window(gateway: Gateway) -> None:
    looks = []
    for second in range(0, 31, 5):
        looks.append([gateway.at(float(second))])
        gateway.answer(10 if second < 20 else 100, 0.005)
    # Of the last ten seconds alone: two hundred answers.
    assert window(*looks).rates(RUNGS) == {"": pytest.approx(20.0)}


def test_a_server_tells_its_state_and_one_that_does_not_answer_why(gateway: Gateway) -> None:
    gateway.ready.set(0)
    silent = Sample("b:9101", 0.0, error="Connection refused")
    shown = figures(window([gateway.at(0.0), silent]))
    assert [(one.service, one.state, one.answers, one.generations) for one in shown.servers] == [
        ("gateway", "not ready", True, "active 7"),
        ("b:9101", "Connection refused", False, ""),
    ]
    assert shown.methods == ()
