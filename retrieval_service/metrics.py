"""What the retrieval service counts beside what every server does."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from retrieval_service.engine.query import Candidates
from twostage.candidates.source import Source

# All bit sets are numbers below this.
_BIT_SET_COUNT = 2 ** len(Source)


class RetrievalMetrics:
    """Candidates by source and shortfalls by reason.

    ``twostage_retrieval_candidates_total{source}``, where a candidate of two sources counts for both, and
    ``twostage_retrieval_shortfalls_total{reason}``.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        candidates = Counter("twostage_retrieval_candidates_total", "Candidates found.", ("source",), registry=registry)
        # Labels are resolved once, for resolving costs more than counting.
        self._counters = [candidates.labels((source.name or "").lower()) for source in Source]
        bit_sets = np.arange(_BIT_SET_COUNT)
        self._having = np.array([(bit_sets & source.value) > 0 for source in Source], np.float32)
        self._shortfalls = Counter(
            "twostage_retrieval_shortfalls_total",
            "Answers with fewer candidates than asked for.",
            ("reason",),
            registry=registry,
        )

    def count(self, candidates: Candidates) -> None:
        """Counts one answer."""
        by_bit_set = np.bincount(candidates.sources, minlength=_BIT_SET_COUNT).astype(np.float32)
        for counter, number in zip(self._counters, (self._having @ by_bit_set).tolist(), strict=True):
            if number:
                counter.inc(number)
        if candidates.shortfall is not None:
            self._shortfalls.labels(candidates.shortfall.reason.value).inc()
