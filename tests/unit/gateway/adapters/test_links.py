from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from gateway.adapters.call_metrics import CallMetrics
from gateway.adapters.links import Links, open_links
from gateway.settings import GatewaySettings
from twostage.rpc.channels import open_plainly
from twostage.rpc.outliers import Outcome, OutlierPolicy


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as events:
        yield events


def opened(registry: CollectorRegistry, **settings: Any) -> Links:
    told = {"retrieval": "127.0.0.1:1,127.0.0.1:2", "ranking": "127.0.0.1:3,127.0.0.1:4", **settings}
    return open_links(
        GatewaySettings(store=Path("store"), users="users.sqlite", **told),
        lambda: None,
        lambda _target: open_plainly,
        registry,
    )


def close(links: Links) -> None:
    for replicas in links.retrieval:
        replicas.close()
    links.ranking.close()


def test_replicas_that_fail_are_put_aside_counted_and_logged_once(
    registry: CollectorRegistry, logged: list[Any]
) -> None:
    links = opened(registry)
    try:
        bad = links.ranking.all()[0]
        for _ in range(5):
            bad.note(Outcome.FAILED)
        assert bad.aside
        labels = {"stage": "ranking"}
        assert registry.get_sample_value("twostage_gateway_replicas_aside", labels) == 1
        counted = {**labels, "why": "failed"}
        assert registry.get_sample_value("twostage_gateway_replicas_put_aside_total", counted) == 1
        for _ in range(3):
            bad.note_status(answered=False)
            bad.note_status(answered=True)
            assert bad.take_trial()
            bad.note(Outcome.SILENT)
        assert registry.get_sample_value("twostage_gateway_replicas_put_aside_total", {**labels, "why": "silent"}) == 3
        bad.note_status(answered=False)
        bad.note_status(answered=True)
        assert bad.take_trial()
        bad.note(Outcome.ANSWERED, 0.001)
        assert registry.get_sample_value("twostage_gateway_replicas_aside", labels) == 0
        assert [(event["event"], event["address"]) for event in logged] == [
            ("replica put aside", "127.0.0.1:3"),
            ("replica taken back", "127.0.0.1:3"),
        ]
    finally:
        close(links)


def test_nobody_is_put_aside_where_that_is_off(registry: CollectorRegistry) -> None:
    links = opened(registry, aside_seconds=0)
    try:
        bad = links.retrieval[0].all()[0]
        for _ in range(50):
            bad.note(Outcome.FAILED)
        assert not bad.aside
    finally:
        close(links)


def test_shards_are_links_of_their_own_and_settings_say_how_they_are_asked(registry: CollectorRegistry) -> None:
    settings = {"hedge_share": 0.1, "retry_share": 0.0, "hedge_least_ms": 5, "retrieval_connections": 2}
    links = opened(registry, retrieval="127.0.0.1:1;127.0.0.1:2,127.0.0.1:5", **settings)
    try:
        assert [replicas.several for replicas in links.retrieval] == [False, True]
        assert [len(replicas.connections()) for replicas in links.retrieval] == [2, 4]
        assert [calls.replicas for calls in links.retrieval_calls] == list(links.retrieval)
        policy = links.ranking_calls.policy
        assert (policy.hedge_share, policy.retry_share, policy.hedge_least_seconds) == (0.1, 0.0, 0.005)
        assert not links.ranking_calls.retries.take()
        # Two of four connections to two addresses, not three.
        for connection in links.retrieval[1].connections():
            for _ in range(5):
                connection.note(Outcome.FAILED)
        assert sum(connection.aside for connection in links.retrieval[1].connections()) == 2
    finally:
        close(links)


def test_of_shards_all_that_are_put_aside_are_counted_and_none_that_left(registry: CollectorRegistry) -> None:
    links = opened(registry, retrieval="127.0.0.1:1,127.0.0.1:2;127.0.0.1:3,127.0.0.1:4")

    def aside() -> float | None:
        return registry.get_sample_value("twostage_gateway_replicas_aside", {"stage": "retrieval"})

    try:
        for replicas in links.retrieval:
            for _ in range(5):
                replicas.all()[0].note(Outcome.FAILED)
        assert aside() == 2
        # Every channel is opened anew, e.g. with another certificate.
        links.retrieval[0].reopen()
        assert aside() == 1
    finally:
        close(links)


def test_second_attempts_and_times_are_counted_by_stage(registry: CollectorRegistry) -> None:
    metrics = CallMetrics(registry)
    told = metrics.of_stage("retrieval")
    for outcome in ("won", "won", "lost", "refused"):
        told.hedged(outcome)
    told.retried("made")
    metrics.measured("ranking", 0.004, 0.009)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"twostage_gateway_{name}", labels)

    assert value("hedges_total", stage="retrieval", outcome="won") == 2
    assert value("hedges_total", stage="retrieval", outcome="refused") == 1
    assert value("retries_total", stage="retrieval", outcome="made") == 1
    assert value("stage_latency_seconds", stage="ranking", quantile="0.5") == 0.004
    assert value("stage_latency_seconds", stage="ranking", quantile="0.95") == 0.009


@pytest.mark.parametrize("longest", [0.5, 30.0])
def test_the_first_time_aside_is_a_second_at_most(longest: float) -> None:
    settings = GatewaySettings(store=Path("store"), users="users.sqlite", aside_seconds=longest)
    assert settings.outlier_policy() == OutlierPolicy(first_seconds=min(1.0, longest), longest_seconds=longest)
