"""Health as `grpc.health.v1` tells it: the server's overall state under the empty name and each service's name."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2

from twostage.rpc.health_servicer import HealthServicer

_Response = health_pb2.HealthCheckResponse


class Health:
    """The health of one server; NOT_SERVING until told otherwise.

    Args:
        service_names: The full names of its services, e.g. ``twostage.v1.RankingService``.
    """

    def __init__(self, service_names: Iterable[str]) -> None:
        self._names = ("", *service_names)
        self._servicer = HealthServicer(dict.fromkeys(self._names, _Response.NOT_SERVING))

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service with a server that has not started."""
        self._servicer.add_to(server)

    def set_serving(self, *, serving: bool) -> None:
        """Sets the state of the server and of all its services."""
        self._servicer.set(dict.fromkeys(self._names, _Response.SERVING if serving else _Response.NOT_SERVING))

    def close(self) -> None:
        """Ends the threads; the server must have stopped."""
        self._servicer.close()
