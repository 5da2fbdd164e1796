"""Health as `grpc.health.v1` tells it: the server's overall state under the empty name and each service's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Health:
    """The health of one server; NOT_SERVING until told otherwise.

    Checks run on a thread of their own: a server whose workers are all busy is alive, and a probe that waits behind
    them would have it restarted in the moment of its highest load.

    Args:
        service_names: The full names of its services, e.g. ``twostage.v1.RankingService``.
    """

    def __init__(self, service_names: Iterable[str]) -> None:
        self._pool = futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")
        self._servicer = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        # grpc_health starts the empty name as SERVING.
        self._names = ("", *service_names)
        self.set_serving(serving=False)

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service with a server that has not started."""
        check = self._servicer.Check

        def check_apart(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
            return check(request, context)

        # The attribute by which grpcio chooses another pool for one method.
        check_apart.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        self._servicer.Check = check_apart  # type: ignore[method-assign]
        add: Callable[[health.HealthServicer, grpc.Server], None] = health_pb2_grpc.add_HealthServicer_to_server
        add(self._servicer, server)

    def set_serving(self, *, serving: bool) -> None:
        """Sets the state of the server and of all its services."""
        response = health_pb2.HealthCheckResponse
        for name in self._names:
            self._servicer.set(name, response.SERVING if serving else response.NOT_SERVING)

    def close(self) -> None:
        """Ends the thread; the server must have stopped."""
        self._pool.shutdown(wait=False)
