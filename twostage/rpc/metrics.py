"""Prometheus metrics of one server and the HTTP endpoint that exposes them."""

from __future__ import annotations

import platform
import threading
from importlib.metadata import PackageNotFoundError, version
from wsgiref.simple_server import WSGIServer

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client import start_http_server as start_prometheus

from twostage.rpc.address import AddressUnavailable, join_address, require_free

# From half a millisecond, which one hop takes idle, to the ten seconds after which nobody waits.
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
        self.seconds = metrics.seconds.labels(method)

    def count(self, code: grpc.StatusCode) -> None:
        """Counts one finished request."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(self._method, code.name)
        counter.inc()


class ServerMetrics:
    """The metrics that every server has.

    ``twostage_requests_total{method, code}``, ``twostage_request_seconds{method}``,
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
            "Seconds from the start of a request's work to its answer, waiting for a thread excluded.",
            ("method",),
            registry=registry,
            buckets=_SECONDS_BUCKETS,
        )
        self.in_flight = Gauge("twostage_requests_in_flight", "Requests being worked on.", registry=registry)
        self.log_failures = Counter(
            "twostage_log_failures_total", "Requests whose log event could not be written.", registry=registry
        )
        self._generation = Gauge(
            "twostage_generation",
            "Generations of the bundle, by state: active, previous.",
            ("state",),
            registry=registry,
        )
        self.ready = Gauge("twostage_ready", "1 when the server says SERVING.", registry=registry)
        Gauge(
            "twostage_build_info",
            "Always 1; the labels say what runs.",
            ("service", "version", "python", "grpc"),
            registry=registry,
        ).labels(service, package_version(), platform.python_version(), grpc.__version__).set(1)

    def for_method(self, method: str) -> MethodMetrics:
        """Resolves the labels of one method, e.g. ``twostage.v1.RankingService/Rank``."""
        return MethodMetrics(self, method)

    def set_generation(self, generation: int, state: str = "active") -> None:
        """States which generation is active (or previous)."""
        self._generation.labels(state).set(generation)


class MetricsEndpoint:
    """``http://host:port/metrics``, served by a thread of its own.

    Args:
        registry: What is exposed.
        host: The address to listen on.
        port: The port to listen on, above 0.

    Raises:
        AddressUnavailable: The address cannot be listened on.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        require_free(host, port, "metrics")
        try:
            server, thread = start_prometheus(port, addr=host, registry=registry)
        except OSError as error:
            raise AddressUnavailable(join_address(host, port), "metrics", error.strerror or str(error)) from error
        self._server: WSGIServer = server
        self._thread: threading.Thread = thread
        self.address = join_address(host, server.server_port)

    def close(self) -> None:
        """Stops listening; returns when the port is free again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
