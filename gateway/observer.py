"""What the gateway tells its operators: counters, and facts for the request's log event."""

from __future__ import annotations

import time

import structlog
from prometheus_client import CollectorRegistry, Counter

from gateway.engine.ladder import Rung, StageFailure
from gateway.users.store import UserStoreUnavailable
from twostage.rpc import request_event

# A store that is down fails every request; once in so many seconds is enough to read about it.
_COMPLAINT_SECONDS = 10.0


class Observer:
    """Counts rungs and failures.

    ``twostage_gateway_recommendations_total{rung}``, ``twostage_gateway_similar_items_total{rung}``,
    ``twostage_gateway_stage_failures_total{stage, kind}``, ``twostage_gateway_asked_again_total{stage}``,
    ``twostage_gateway_user_store_failures_total``, ``twostage_gateway_events_total{outcome}``.

    Args:
        registry: Where the counters are registered; one observer to a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        recommendations = Counter(
            "twostage_gateway_recommendations_total", "Recommend answers by rung.", ("rung",), registry=registry
        )
        # Labels are resolved once, because resolving costs more than counting.
        self._by_rung = {rung: recommendations.labels(rung.name) for rung in Rung}
        similar = Counter(
            "twostage_gateway_similar_items_total", "SimilarItems answers by rung.", ("rung",), registry=registry
        )
        self._similar_by_rung = {rung: similar.labels(rung.name) for rung in (Rung.FULL, Rung.POPULAR)}
        self._stage_failures = Counter(
            "twostage_gateway_stage_failures_total",
            "Requests that went a rung lower, by the stage that did not answer and how: unavailable, late.",
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
        events = Counter("twostage_gateway_events_total", "Events by outcome.", ("outcome",), registry=registry)
        self._accepted, self._rejected = events.labels("accepted"), events.labels("rejected")
        self._logger = structlog.get_logger(service="gateway")
        self._complained_at = float("-inf")

    def answered(self, rung: Rung) -> None:
        """Counts an answer to Recommend."""
        self._by_rung[rung].inc()
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

    def events_recorded(self, accepted_count: int, rejected_count: int) -> None:
        """Counts events."""
        self._accepted.inc(accepted_count)
        self._rejected.inc(rejected_count)
