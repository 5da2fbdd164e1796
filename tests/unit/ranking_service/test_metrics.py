from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from ranking_service.metrics import RankingMetrics

PREFIX = "twostage_ranking_"


def test_steps_and_candidates_are_counted_by_ranker() -> None:
    registry = CollectorRegistry()
    metrics = RankingMetrics(registry)
    metrics.ranked("wide", 500, {"gather": 1.0, "model_server": 4.0})
    metrics.ranked("wide", 501, {"gather": 2.0, "model_server": 4.0})
    metrics.ranked("deep", 20, {"gather": 1.0})

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(PREFIX + name, labels)

    assert value("step_seconds_sum", ranker="wide", step="gather") == pytest.approx(0.003)
    assert value("step_seconds_count", ranker="wide", step="model_server") == 2
    assert value("step_seconds_count", ranker="deep", step="model_server") is None
    assert value("candidates_bucket", ranker="wide", le="500.0") == 1
    assert value("candidates_bucket", ranker="wide", le="750.0") == 2
    assert value("candidates_sum", ranker="deep") == 20


def test_calls_to_the_model_server_are_counted_in_and_out() -> None:
    registry = CollectorRegistry()
    metrics = RankingMetrics(registry)
    metrics.call_began()
    metrics.call_began()
    assert registry.get_sample_value(PREFIX + "model_server_in_flight") == 2
    metrics.call_ended("late")
    metrics.call_refused()
    assert registry.get_sample_value(PREFIX + "model_server_in_flight") == 1
    calls = {
        outcome: registry.get_sample_value(PREFIX + "model_server_calls_total", {"outcome": outcome})
        for outcome in ("answered", "late", "refused", "failed")
    }
    assert calls == {"answered": 0, "late": 1, "refused": 1, "failed": 0}
