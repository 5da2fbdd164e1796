"""Health as `grpc.health.v1` tells it: whether the server takes requests, and whether its process works at all."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2

from twostage.rpc.health_servicer import HealthServicer

_Response = health_pb2.HealthCheckResponse

LIVENESS = "liveness"
"""The name under which a process that works is SERVING, also one that loads, waits for a bundle or drains.

A probe that restarts what does not answer asks for this one: a server without a generation needs no restart.
"""


class Health:
    """The health of one server: NOT_SERVING until told otherwise, under the empty name and its services' names.

    Args:
        service_names: The full names of its services, e.g. ``twostage.v1.RankingService``.
    """

    def __init__(self, service_names: Iterable[str]) -> None:
        self._names = ("", *service_names)
        states = dict.fromkeys(self._names, _Response.NOT_SERVING)
        self._servicer = HealthServicer({**states, LIVENESS: _Response.SERVING})

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service with a server that has not started."""
        self._servicer.add_to(server)

    def set_serving(self, *, serving: bool) -> None:
        """Sets the state of the server and of all its services."""
        self._servicer.set(dict.fromkeys(self._names, _Response.SERVING if serving else _Response.NOT_SERVING))

    def close(self) -> None:
        """Ends the threads; the server must have stopped."""
        self._servicer.close()
