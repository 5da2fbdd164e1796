"""``grpc.health.v1`` as the real server names things: the empty name and the services' names without their package.

The real server says SERVING from its start to its end. This one says NOT_SERVING once it is told to stop, so that
whoever asks sends its calls elsewhere while those in flight finish.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

NAMES = ("", "ModelService", "PredictionService")


class ServingHealth(health.HealthServicer):
    """The health of the server: SERVING until ``drain``.

    Checks have a thread of their own: a server whose threads are all busy is alive.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=self._thread)
        for name in NAMES:
            self.set(name, health_pb2.HealthCheckResponse.SERVING)

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service with a server that has not started."""
        check = super().Check

        def check_apart(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
            response = check(request, context)
            if request.service not in NAMES:
                context.set_details("service name unknown")
            return response

        # The attribute by which grpcio chooses another pool for one method.
        check_apart.experimental_thread_pool = self._thread  # type: ignore[attr-defined]
        self.Check = check_apart  # type: ignore[method-assign]
        add: Callable[[health.HealthServicer, grpc.Server], None] = health_pb2_grpc.add_HealthServicer_to_server
        add(self, server)

    def drain(self) -> None:
        """Says NOT_SERVING under every name, for good."""
        self.enter_graceful_shutdown()

    def close(self) -> None:
        """Ends the thread; the server must have stopped."""
        self._thread.shutdown(wait=False)
