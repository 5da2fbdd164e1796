"""What the HTTP face counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# 50, 100 and 250 ms are where objectives are set, so they are edges.
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Metrics by method and status; other paths count as method ``other``.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "twostage_http_requests_total",
            "Requests by method and HTTP status.",
            ("method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "twostage_http_seconds",
            "Seconds from the end of a request's headers to the end of its answer, by method.",
            ("method",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "twostage_http_requests_in_flight", "Requests that are being worked on.", registry=registry
        )

    def answered(self, method: str, status: int, seconds: float, exemplar: dict[str, str] | None = None) -> None:
        """Counts a request; the exemplar's labels stand for it in its bucket."""
        self._requests.labels(method, str(status)).inc()
        self._seconds.labels(method).observe(seconds, exemplar)
