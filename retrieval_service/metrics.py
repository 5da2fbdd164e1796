"""What the retrieval service counts beside what every server does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from retrieval_service.engine.index.faiss_part import SEARCH_WAYS
from retrieval_service.engine.query import Candidates
from twostage.candidates.source import Source
from twostage.rpc.step_seconds import StepSeconds
from twostage.rpc.tracing.current import exemplar

# All bit sets are numbers below this.
_BIT_SET_COUNT = 2 ** len(Source)


class RetrievalMetrics:
    """Candidates by source, shortfalls by reason, where the time went, and how the index was searched.

    ``twostage_retrieval_candidates_total{source}``, where a candidate of two sources counts for both,
    ``twostage_retrieval_shortfalls_total{reason}``, ``twostage_retrieval_step_seconds{step}``,
    ``twostage_retrieval_searches_total{way}`` and ``twostage_retrieval_filters_total{outcome}``.

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
        self._step_seconds = StepSeconds(
            "twostage_retrieval_step_seconds",
            "Seconds by step of an answer: resolve (ids), select (filter and exclusions), user_tower, search, blend.",
            ("step",),
            registry=registry,
        )
        searches = Counter(
            "twostage_retrieval_searches_total",
            "Searches of the index by how they were done: index, probe (more lists, under a filter), lists (allowed "
            "rows of the lists, exactly), scan (all allowed rows, exactly), exhaustive (the same because a first "
            "search found too few), widened (once more, because too many tied). Those of loading are among them.",
            ("way",),
            registry=registry,
        )
        self._by_way = {way: searches.labels(way) for way in SEARCH_WAYS}
        filters = Counter(
            "twostage_retrieval_filters_total",
            "Filters by whether what they leave was remembered: hit, miss.",
            ("outcome",),
            registry=registry,
        )
        self._filter_hits, self._filter_misses = filters.labels("hit"), filters.labels("miss")

    def searched(self, way: str) -> None:
        """Counts a search of the index."""
        self._by_way[way].inc()

    def filter_looked_up(self, held: bool) -> None:
        """Counts a filter."""
        (self._filter_hits if held else self._filter_misses).inc()

    def took(self, resolve_ms: float, timings_ms: Mapping[str, float]) -> None:
        """Takes where an answer's time went, in milliseconds."""
        observations = [((step,), milliseconds / 1e3) for step, milliseconds in timings_ms.items()]
        observations.append((("resolve",), resolve_ms / 1e3))
        self._step_seconds.observe(observations, exemplar())

    def count(self, candidates: Candidates) -> None:
        """Counts one answer."""
        by_bit_set = np.bincount(candidates.sources, minlength=_BIT_SET_COUNT).astype(np.float32)
        for counter, number in zip(self._counters, (self._having @ by_bit_set).tolist(), strict=True):
            if number:
                counter.inc(number)
        if candidates.shortfall is not None:
            self._shortfalls.labels(candidates.shortfall.reason.value).inc()
