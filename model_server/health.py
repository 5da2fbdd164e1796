"""``grpc.health.v1`` as the real server names things: the empty name and the services' names without their package.

The real server says SERVING from its start to its end. This one says NOT_SERVING once it is told to stop, so that
whoever asks sends its calls elsewhere while those in flight finish.
"""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from twostage.rpc.health_servicer import HealthServicer

NAMES = ("", "ModelService", "PredictionService")


class ServingHealth(HealthServicer):
    """The health of the server: SERVING until ``drain``."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(NAMES, health_pb2.HealthCheckResponse.SERVING), "service name unknown")

    def drain(self) -> None:
        """Says NOT_SERVING under every name, for good."""
        self.set(dict.fromkeys(NAMES, health_pb2.HealthCheckResponse.NOT_SERVING))
