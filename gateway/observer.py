"""What the gateway tells its operators: counters, and facts for the request's log event."""

from __future__ import annotations

import time

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.answer_metrics import AnswerMetrics
from gateway.engine.ladder import Rung, StageFailure
from gateway.engine.response import RecommendResponse
from gateway.users.store import UserStoreUnavailable
from twostage.rpc import request_event
from twostage.rpc.tracing import current

# A store that is down fails every request; once in so many seconds is enough to read about it.
_COMPLAINT_SECONDS = 10.0
_STORE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class Observer:
    """Counts rungs and failures.

    ``twostage_gateway_recommendations_total{rung}``, ``twostage_gateway_similar_items_total{rung}``,
    ``twostage_gateway_rung_changes_total{rung}``, ``twostage_gateway_circuit_open{stage}``,
    ``twostage_gateway_circuit_openings_total{stage}``,
    ``twostage_gateway_stage_failures_total{stage, kind}``, ``twostage_gateway_asked_again_total{stage}``,
    ``twostage_gateway_user_store_failures_total``, ``twostage_gateway_user_store_seconds{operation}``,
    ``twostage_gateway_events_total{outcome}``.

    Args:
        registry: Where the counters are registered; one observer to a registry.

    Attributes:
        answers: Counts answers to Recommend by what is in them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = AnswerMetrics(registry)
        recommendations = Counter(
            "twostage_gateway_recommendations_total", "Recommend answers by rung.", ("rung",), registry=registry
        )
        # Labels are resolved once, because resolving costs more than counting.
        self._by_rung = {rung: recommendations.labels(rung.name) for rung in Rung}
        changes = Counter(
            "twostage_gateway_rung_changes_total",
            "Recommend answers on another rung than the one before them, by their own rung.",
            ("rung",),
            registry=registry,
        )
        self._changes_to = {rung: changes.labels(rung.name) for rung in Rung}
        self._last_rung: Rung | None = None
        circuits = Gauge(
            "twostage_gateway_circuit_open",
            "1 while a stage is not asked because it failed, else 0.",
            ("stage",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        openings = Counter(
            "twostage_gateway_circuit_openings_total",
            "How often a stage was found to fail and asked no more for a while.",
            ("stage",),
            registry=registry,
        )
        self._circuits = {stage: circuits.labels(stage) for stage in ("retrieval", "ranking")}
        self._openings = {stage: openings.labels(stage) for stage in ("retrieval", "ranking")}
        similar = Counter(
            "twostage_gateway_similar_items_total", "SimilarItems answers by rung.", ("rung",), registry=registry
        )
        self._similar_by_rung = {rung: similar.labels(rung.name) for rung in (Rung.FULL, Rung.POPULAR)}
        self._stage_failures = Counter(
            "twostage_gateway_stage_failures_total",
            "Requests that went a rung lower, by the stage that did not answer and how: unavailable, late, resting.",
            ("stage", "kind"),
            registry=registry,
        )
        self._asked_again = Counter(
            "twostage_gateway_asked_again_total",
            "Requests that went through the stages twice, by the stage that did not hold the first generation.",
            ("stage",),
            registry=registry,
        )
        self._user_store_failures = Counter(
            "twostage_gateway_user_store_failures_total",
            "Requests answered as for an unknown person because the user store failed.",
            registry=registry,
        )
        store_seconds = Histogram(
            "twostage_gateway_user_store_seconds",
            "Seconds that the user store took, whether it failed or not: read (for Recommend), record (for events).",
            ("operation",),
            registry=registry,
            buckets=_STORE_BUCKETS,
        )
        self._read_seconds, self._record_seconds = store_seconds.labels("read"), store_seconds.labels("record")
        events = Counter("twostage_gateway_events_total", "Events by outcome.", ("outcome",), registry=registry)
        self._accepted, self._rejected = events.labels("accepted"), events.labels("rejected")
        self._logger = structlog.get_logger(service="gateway")
        self._complained_at = float("-inf")

    def answered(self, response: RecommendResponse, seconds: float) -> None:
        """Counts an answer to Recommend, and how long it took."""
        rung = response.rung
        self._by_rung[rung].inc()
        self.answers.answered(response, seconds)
        if (span := current.current()) is not None:
            arms = [f"{experiment}/{arm}" for experiment, arm in response.arms]
            span.note(rung_reason=response.rung_reason, arms=arms, ranker=response.ranker)
        if rung is not self._last_rung:
            # Of two threads here at once one change may be lost or counted twice, which nobody needs to the unit.
            if self._last_rung is not None:
                self._changes_to[rung].inc()
            self._last_rung = rung
        request_event.attach(rung=rung.name)

    def similar_answered(self, rung: Rung) -> None:
        """Counts an answer to SimilarItems, which is FULL or POPULAR."""
        self._similar_by_rung[rung].inc()
        request_event.attach(rung=rung.name)

    def stage_failed(self, failure: StageFailure) -> None:
        """Counts a request that went a rung lower."""
        self._stage_failures.labels(failure.stage, failure.kind).inc()
        request_event.attach(stage_failure=failure.reason)
        if failure.detail:
            request_event.attach(stage_failure_detail=failure.detail)

    def circuit_changed(self, stage: str, *, is_open: bool, why: str) -> None:
        """Counts and logs that a stage is asked no more, or again."""
        self._circuits[stage].set(is_open)
        if is_open:
            self._openings[stage].inc()
            self._logger.warning("stage out", stage=stage, why=why)
        else:
            self._logger.info("stage back", stage=stage)

    def asked_again(self, failure: StageFailure) -> None:
        """Counts a request that is asked a second time, of another generation."""
        self._asked_again.labels(failure.stage).inc()
        request_event.attach(asked_again=failure.reason)

    def user_store_failed(self, error: UserStoreUnavailable) -> None:
        """Counts a request whose person could not be read, and logs it now and then."""
        self._user_store_failures.inc()
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            self._logger.warning("user store unavailable", error=str(error))

    def user_read(self, seconds: float) -> None:
        """Takes how long the user store took to read a person."""
        self._read_seconds.observe(seconds)

    def user_recorded(self, seconds: float) -> None:
        """Takes how long the user store took to record events."""
        self._record_seconds.observe(seconds)

    def events_recorded(self, accepted_count: int, rejected_count: int) -> None:
        """Counts events."""
        self._accepted.inc(accepted_count)
        self._rejected.inc(rejected_count)
