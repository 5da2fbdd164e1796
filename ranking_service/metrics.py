"""What the ranking service counts beside what every server does."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from twostage.rpc.step_seconds import StepSeconds
from twostage.rpc.tracing.current import exemplar

# The contract allows 2,000 candidates; the gateway asks for 500 unless it is told otherwise.
_CANDIDATE_BUCKETS = (0, 10, 25, 50, 100, 200, 300, 400, 500, 750, 1000, 1500, 2000)


class RankingMetrics:
    """Where the time of rankings went, how many candidates they had, and calls to the model server.

    ``twostage_ranking_step_seconds{ranker, step}``, ``twostage_ranking_candidates{ranker}``,
    ``twostage_ranking_model_server_in_flight`` and ``twostage_ranking_model_server_calls_total{outcome}``.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._step_seconds = StepSeconds(
            "twostage_ranking_step_seconds",
            "Seconds by ranker and step: gather (features), model_server (the call), blend, select, explain, describe.",
            ("ranker", "step"),
            registry=registry,
        )
        self._candidates = Histogram(
            "twostage_ranking_candidates",
            "Candidates of a ranking, by ranker: what the model server gets as one batch.",
            ("ranker",),
            registry=registry,
            buckets=_CANDIDATE_BUCKETS,
        )
        self._by_ranker: dict[str, Histogram] = {}
        self._in_flight = Gauge(
            "twostage_ranking_model_server_in_flight",
            "Calls to the model server that are waited for.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        calls = Counter(
            "twostage_ranking_model_server_calls_total",
            "Calls to the model server by outcome: answered, late, refused (not sent: too many in flight here), "
            "failed (it could not be reached, or refused).",
            ("outcome",),
            registry=registry,
        )
        self._calls = {outcome: calls.labels(outcome) for outcome in ("answered", "late", "refused", "failed")}

    def ranked(self, ranker: str, candidate_count: int, timings_ms: Mapping[str, float]) -> None:
        """Counts a ranking.

        Args:
            ranker: Who scored.
            candidate_count: How many candidates there were.
            timings_ms: Milliseconds by step.
        """
        observations = [((ranker, step), milliseconds / 1e3) for step, milliseconds in timings_ms.items()]
        self._step_seconds.observe(observations, exemplar())
        candidates = self._by_ranker.get(ranker)
        if candidates is None:
            # Rankers are those of the bundles: a few.
            candidates = self._by_ranker[ranker] = self._candidates.labels(ranker)
        candidates.observe(candidate_count)

    def call_began(self) -> None:
        """Counts a call to the model server in."""
        self._in_flight.inc()

    def call_ended(self, outcome: str) -> None:
        """Counts it out: answered, late or failed."""
        self._in_flight.dec()
        self._calls[outcome].inc()

    def call_refused(self) -> None:
        """Counts a call that was not made, because too many are in flight."""
        self._calls["refused"].inc()
