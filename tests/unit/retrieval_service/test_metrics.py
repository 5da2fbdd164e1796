from __future__ import annotations

import numpy as np
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
