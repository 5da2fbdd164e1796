"""The real HTTP server in a thread, before a real gRPC server that does what a request's user_id says."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from prometheus_client import CollectorRegistry

from gateway.http.server import HttpServer
from gateway.http.settings import HttpSettings
from tests.unit.twostage.rpc.echo import ERRORS
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

SERVICE_NAME = "twostage.v1.RecommendationService"


@dataclass
class Scripted(gateway_pb2_grpc.RecommendationServiceServicer):
    """Answers with what it was told, or with the error that the user_id names.

    Attributes:
        metadata: Of the last call.
        seconds_left: What the last call had, None without a deadline.
        cancelled: Set when a call's caller went.
    """

    metadata: list[tuple[str, str]] = field(default_factory=list)
    seconds_left: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def Recommend(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        self.metadata = [(key, str(value)) for key, value in context.invocation_metadata()]
        left = context.time_remaining()
        self.seconds_left = None if left is None or left > 1e6 else left
        if request.user_id in ERRORS:
            make = ERRORS[request.user_id]
            raise make()
        if request.user_id == "boom":
            raise RuntimeError("the secret of the house")
        if request.user_id == "hang":
            context.add_callback(self.cancelled.set)
            self.cancelled.wait(20)
        response = gateway_pb2.RecommendResponse(request_id="r", generation=2**40, rung="RUNG_FULL", ranker="größe")
        response.recommendations.add(item_id="i1", score=0.5, title="<b>é</b>").action_scores["rated"] = 0.25
        return response


@dataclass
class Face:
    """An HTTP face under test."""

    server: HttpServer
    servicer: Scripted
    grpc_server: ServiceServer

    def ask(
        self, path: str, body: Any = None, *, method: str = "POST", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (JSON read), headers of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            told = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, content, told)
            response = connection.getresponse()
            read = response.read()
            answered = {name.lower(): value for name, value in response.getheaders()}
            is_json = answered.get("content-type") == "application/json"
            return response.status, json.loads(read) if is_json and read else read, answered
        finally:
            connection.close()


@contextmanager
def face(**settings: Any) -> Iterator[Face]:
    """Serves; keyword arguments are settings of the HTTP face."""
    servicer = Scripted()
    grpc_server = ServiceServer(
        "gateway",
        [SERVICE_NAME],
        lambda server: gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server),
        ServiceSettings(port=0),
        registry=CollectorRegistry(),
    )
    with grpc_server, grpc.insecure_channel(grpc_server.address) as channel:
        told = {"port": 0, "metrics_port": 0, "grace_seconds": 1.0, **settings}
        server = HttpServer(HttpSettings(**told), channel, structlog.get_logger())
        server.listen()
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(signals=False)))
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline, "it does not serve"
                time.sleep(0.005)
            yield Face(server, servicer, grpc_server)
        finally:
            server.stop()
            servicer.cancelled.set()
            thread.join(20)
            server.close()
