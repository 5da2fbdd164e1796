"""The HTTP endpoint of metrics and probes; knows no gRPC, because the supervisor of workers serves it too."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from twostage.rpc.address import AddressUnavailable, join_address, require_free

METRICS_PATH = "/metrics"
LIVENESS_PATH = "/livez"
READINESS_PATH = "/readyz"

_SILENT_SECONDS = 10.0
"""Whoever sends nothing for so long is gone: its connection would hold a thread for ever."""

NotReadyReason = Callable[[], str | None]
"""Why requests are not taken now, None while they are; asked from any thread."""


class MetricsEndpoint:
    """``http://host:port/metrics``, served by threads of its own, and beside it what probes ask.

    ``/livez`` is 200 while the process works, ``/readyz`` 200 while it takes requests and else 503 with the reason as
    text: for probes that speak no TLS, and for people. Any other path is answered 404.

    Args:
        registry: What is exposed.
        host: The address to listen on.
        port: The port to listen on, above 0.
        not_ready: Says why requests are not taken; without it they always are.

    Raises:
        AddressUnavailable: The address cannot be listened on.
    """

    def __init__(
        self, registry: CollectorRegistry, host: str, port: int, not_ready: NotReadyReason = lambda: None
    ) -> None:
        require_free(host, port, "metrics")
        server_class = _ServerV6 if ":" in host else _Server
        try:
            application = _answers(registry, not_ready)
            self._server = make_server(host.strip("[]"), port, application, server_class, _QuietHandler)
        except OSError as error:
            raise AddressUnavailable(join_address(host, port), "metrics", error.strerror or str(error)) from error
        self.address = join_address(host, self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening; returns when the port is free again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answers(
    registry: CollectorRegistry, not_ready: NotReadyReason
) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    expose: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

    def answer(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environment.get("PATH_INFO")
        if path == METRICS_PATH:
            return expose(environment, start_response)
        status, text = "404 Not Found", f"expected {METRICS_PATH}, {LIVENESS_PATH} or {READINESS_PATH}"
        if path == LIVENESS_PATH:
            status, text = "200 OK", "alive"
        elif path == READINESS_PATH:
            reason = not_ready()
            status, text = ("200 OK", "ready") if reason is None else ("503 Service Unavailable", reason)
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    # A scraper that is slow to read must not keep the process from ending, nor another scraper waiting.
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a scraper that went: a probe that only connects is no defect; others print a traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = _SILENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Logs nothing: a scrape is no event."""
