from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from retrieval_service.engine.query import Candidates
from retrieval_service.metrics import RetrievalMetrics
from twostage.candidates.shortfall import Shortfall, ShortfallReason
from twostage.candidates.source import Source


def test_a_candidate_of_two_sources_counts_for_both() -> None:
    registry = CollectorRegistry()
    metrics = RetrievalMetrics(registry)
    bits = [Source.USER_VECTOR, Source.USER_VECTOR | Source.REPRESENTATIVES, Source.INCLUDED | Source.NEW]
    metrics.count(
        Candidates(
            rows=np.arange(3, dtype=np.uint32),
            scores=np.zeros(3, np.float32),
            sources=np.array(bits, np.uint16),
            shortfall=Shortfall(1, ShortfallReason.EXCLUDED),
            timings_ms={},
        )
    )

    def value(source: str) -> float | None:
        return registry.get_sample_value("twostage_retrieval_candidates_total", {"source": source})

    counted = {source.name: value((source.name or "").lower()) for source in Source}
    assert counted == {
        "USER_VECTOR": 2,
        "POPULAR": 0,
        "INTEREST_TAGS": 0,
        "INCLUDED": 1,
        "INTEREST_VECTORS": 0,
        "NEIGHBOURS": 0,
        "TRENDING": 0,
        "NEW": 1,
        "REPRESENTATIVES": 1,
    }
    assert registry.get_sample_value("twostage_retrieval_shortfalls_total", {"reason": "excluded"}) == 1


def test_steps_searches_and_filters_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = RetrievalMetrics(registry)
    metrics.took(0.5, {"select": 0.25, "search": 2.0})
    metrics.took(0.5, {"select": 0.25, "search": 4.0})
    metrics.searched("probe")
    for held in (True, False, True):
        metrics.filter_looked_up(held)
    prefix = "twostage_retrieval_"
    assert registry.get_sample_value(f"{prefix}step_seconds_sum", {"step": "search"}) == pytest.approx(0.006)
    assert registry.get_sample_value(f"{prefix}step_seconds_count", {"step": "resolve"}) == 2
    assert registry.get_sample_value(f"{prefix}searches_total", {"way": "probe"}) == 1
    assert registry.get_sample_value(f"{prefix}searches_total", {"way": "scan"}) == 0
    assert registry.get_sample_value(f"{prefix}filters_total", {"outcome": "hit"}) == 2
    assert registry.get_sample_value(f"{prefix}filters_total", {"outcome": "miss"}) == 1
