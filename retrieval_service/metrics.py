"""What the retrieval service counts beside what every server does."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from retrieval_service.engine.query import Candidates
from twostage.candidates.source import Source

# All bit sets are numbers below this.
_BIT_SETS = 2 ** len(Source)


class RetrievalMetrics:
    """Candidates by source and shortfalls by reason.

    ``twostage_retrieval_candidates_total{source}``, where a candidate of two sources counts for both, and
    ``twostage_retrieval_shortfalls_total{reason}``.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        candidates = Counter("twostage_retrieval_candidates_total", "Candidates found.", ("source",), registry=registry)
        bit_sets = np.arange(_BIT_SETS)
        # Labels are resolved once, for resolving costs more than counting.
        self._by_source = [
            (candidates.labels((source.name or "").lower()), np.flatnonzero(bit_sets & source)) for source in Source
        ]
        self._shortfalls = Counter(
            "twostage_retrieval_shortfalls_total",
            "Answers with fewer candidates than asked for.",
            ("reason",),
            registry=registry,
        )

    def count(self, candidates: Candidates) -> None:
        """Counts one answer."""
        by_bit_set = np.bincount(candidates.sources, minlength=_BIT_SETS)
        for counter, having in self._by_source:
            number = by_bit_set[having].sum()
            if number:
                counter.inc(number)
        if candidates.shortfall is not None:
            self._shortfalls.labels(candidates.shortfall.reason.value).inc()
