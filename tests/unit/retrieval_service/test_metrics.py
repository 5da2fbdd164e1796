from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry

from retrieval_service.engine.query import Candidates, Shortfall, ShortfallReason
from retrieval_service.metrics import RetrievalMetrics
from twostage.candidates.source import Source


def test_a_candidate_of_two_sources_counts_for_both() -> None:
    registry = CollectorRegistry()
    metrics = RetrievalMetrics(registry)
    bits = [Source.USER_VECTOR, Source.USER_VECTOR | Source.POPULAR, Source.INCLUDED]
    metrics.count(
        Candidates(
            rows=np.arange(3, dtype=np.uint32),
            scores=np.zeros(3, np.float32),
            sources=np.array(bits, np.uint8),
            shortfall=Shortfall(1, ShortfallReason.EXCLUDED),
            timings_ms={},
        )
    )

    def value(source: str) -> float | None:
        return registry.get_sample_value("twostage_retrieval_candidates_total", {"source": source})

    assert [value(source) for source in ("user_vector", "popular", "interest_tags", "included")] == [2, 1, 0, 1]
    assert registry.get_sample_value("twostage_retrieval_shortfalls_total", {"reason": "excluded"}) == 1
