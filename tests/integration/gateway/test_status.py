from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.gateway.servers import ITEM_COUNT, Servers
from twostage.client import Client


def test_status_tells_who_holds_what(client: Client) -> None:
    response = client.status()
    assert (response.status.service, response.status.serving) == ("gateway", True)
    assert [(g.generation, g.item_count, g.active) for g in response.status.generations] == [(1, ITEM_COUNT, True)]
    assert [(s.stage, s.status.serving, s.error) for s in response.stages] == [
        ("retrieval", True, ""),
        ("ranking", True, ""),
    ]


def test_health_says_serving(servers: Servers) -> None:
    with grpc.insecure_channel(servers.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "twostage.v1.RecommendationService"):
            response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert response.status == health_pb2.HealthCheckResponse.SERVING
