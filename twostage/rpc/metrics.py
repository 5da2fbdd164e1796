"""Prometheus metrics of one server.

Where several workers serve one port (twostage.rpc.workers) each of them counts in files that its parent adds up; the
gauges' modes say how.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

_OK = grpc.StatusCode.OK
# From half a millisecond, which one hop takes idle, to the ten seconds after which nobody waits; 50, 100 and
# 250 ms are where objectives are set, so they are edges.
_SECONDS_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


def new_registry() -> CollectorRegistry:
    """Makes a registry with the process's own metrics (CPU, memory, files, garbage collection)."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def package_version() -> str:
    """The installed version of Twostage, ``unknown`` when it runs uninstalled."""
    try:
        return version("twostage")
    except PackageNotFoundError:
        return "unknown"


class MethodMetrics:
    """The metrics of one method with its labels resolved, because resolving costs more than counting."""

    def __init__(self, metrics: ServerMetrics, method: str) -> None:
        self._requests = metrics.requests
        self._method = method
        self._by_code: dict[grpc.StatusCode, Counter] = {}
        self._ok_seconds = metrics.seconds.labels(method, "ok")
        self._failed_seconds = metrics.seconds.labels(method, "failed")

    def finished(self, code: grpc.StatusCode, seconds: float, exemplar: dict[str, str] | None = None) -> None:
        """Counts one finished request and how long it took.

        Args:
            code: How it ended.
            seconds: How long it was worked on.
            exemplar: The labels that stand for it in its bucket, ``trace_id``; None for no exemplar.
        """
        (self._ok_seconds if code is _OK else self._failed_seconds).observe(seconds, exemplar)
        self.count(code)

    def count(self, code: grpc.StatusCode) -> None:
        """Counts one finished request."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(self._method, code.name)
        counter.inc()


class ServerMetrics:
    """The metrics that every server has.

    ``twostage_requests_total{method, code}``, ``twostage_request_seconds{method, outcome}``,
    ``twostage_requests_in_flight``, ``twostage_log_failures_total``, ``twostage_generation{state}``,
    ``twostage_ready``, ``twostage_build_info{service, version, python, grpc}``. A method reads
    ``twostage.v1.RankingService/Rank``.

    Args:
        registry: Where they are registered; one server to a registry.
        service: The server's name, e.g. ``gateway``.
    """

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self.registry = registry
        self.requests = Counter("twostage_requests_total", "Requests finished.", ("method", "code"), registry=registry)
        self.seconds = Histogram(
            "twostage_request_seconds",
            "Seconds from the start of a request's work to its answer, waiting for a thread excluded, by outcome: ok, "
            "failed.",
            ("method", "outcome"),
            registry=registry,
            buckets=_SECONDS_BUCKETS,
        )
        self.in_flight = Gauge(
            "twostage_requests_in_flight",
            "Requests being worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.log_failures = Counter(
            "twostage_log_failures_total", "Requests whose log event could not be written.", registry=registry
        )
        self._generation = Gauge(
            "twostage_generation",
            "Generations of the bundle, by state: active, previous.",
            ("state",),
            registry=registry,
            # The one that all workers have reached.
            multiprocess_mode="livemin",
        )
        self.ready = Gauge(
            "twostage_ready",
            "1 when the server says SERVING.",
            registry=registry,
            # A worker that loads does not listen: the others answer.
            multiprocess_mode="livemax",
        )
        Gauge(
            "twostage_build_info",
            "Always 1; the labels say what runs.",
            ("service", "version", "python", "grpc"),
            registry=registry,
            multiprocess_mode="livemax",
        ).labels(service, package_version(), platform.python_version(), grpc.__version__).set(1)

    def for_method(self, method: str) -> MethodMetrics:
        """Resolves the labels of one method, e.g. ``twostage.v1.RankingService/Rank``."""
        return MethodMetrics(self, method)

    def set_generation(self, generation: int, state: str = "active") -> None:
        """States which generation is active (or previous)."""
        self._generation.labels(state).set(generation)
