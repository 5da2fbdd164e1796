"""What operators see of admission."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.admission.lane import Lane
from gateway.admission.queue import Reason

_QUEUE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class _LaneGauges:
    """One lane's gauges with their labels resolved, and what they show, for setting costs more than comparing."""

    __slots__ = ("in_flight", "limit", "shown_limit", "shown_waiting", "waiting")

    def __init__(self, limit: Gauge, in_flight: Gauge, waiting: Gauge) -> None:
        self.limit = limit
        self.in_flight = in_flight
        self.waiting = waiting
        self.shown_limit = -1
        self.shown_waiting = -1


class AdmissionMetrics:
    """The metrics.

    ``twostage_gateway_admission_limit{lane}``, ``twostage_gateway_admission_in_flight{lane}``,
    ``twostage_gateway_admission_waiting{lane}``, ``twostage_gateway_refused_total{lane, reason, priority}``,
    ``twostage_gateway_queue_seconds{lane}`` of those who waited a millisecond or longer and got a place.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._limit = Gauge(
            "twostage_gateway_admission_limit",
            "Requests that are worked on at once at most, at present.",
            ("lane",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._in_flight = Gauge(
            "twostage_gateway_admission_in_flight",
            "Requests that are worked on.",
            ("lane",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "twostage_gateway_admission_waiting",
            "Requests that wait for a place.",
            ("lane",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._refused = Counter(
            "twostage_gateway_refused_total",
            "Requests refused with RESOURCE_EXHAUSTED, by reason: full, displaced, hopeless, waited, rate, no_thread. "
            "The priority is empty where the caller was refused before it was asked who it is.",
            ("lane", "reason", "priority"),
            registry=registry,
        )
        self._queue_seconds = Histogram(
            "twostage_gateway_queue_seconds",
            "Seconds that requests waited for their place, of those that waited a millisecond or longer and got one.",
            ("lane",),
            registry=registry,
            buckets=_QUEUE_BUCKETS,
        )
        self._gauges: dict[str, _LaneGauges] = {}
        self._refusals: dict[tuple[str, Reason, int | None], Counter] = {}

    def show(self, lane: Lane) -> None:
        """Shows a lane's figures; called under the lane's lock."""
        gauges = self._gauges.get(lane.name)
        if gauges is None:
            labels = lane.name
            gauges = self._gauges[lane.name] = _LaneGauges(
                self._limit.labels(labels), self._in_flight.labels(labels), self._waiting.labels(labels)
            )
        gauges.in_flight.set(lane.in_flight_count)
        if (waiting := len(lane.room)) != gauges.shown_waiting:
            gauges.shown_waiting = waiting
            gauges.waiting.set(waiting)
        if (limit := lane.limit.value) != gauges.shown_limit:
            gauges.shown_limit = limit
            gauges.limit.set(limit)

    def waited(self, lane: Lane, seconds: float) -> None:
        """Takes how long a request waited that got a place."""
        self._queue_seconds.labels(lane.name).observe(seconds)

    def refused(self, lane: Lane, reason: Reason, priority: int | None) -> None:
        """Counts a refusal; the priority is None where it was not known."""
        key = (lane.name, reason, priority)
        counter = self._refusals.get(key)
        if counter is None:
            told = "" if priority is None else str(priority)
            counter = self._refusals[key] = self._refused.labels(lane.name, reason.value, told)
        counter.inc()
