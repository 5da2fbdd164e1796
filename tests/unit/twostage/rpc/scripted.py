"""Real servers that each do what a test tells them, so that replicas of one service can differ."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from prometheus_client import CollectorRegistry

from tests.unit.twostage.rpc.echo import SERVICE, say_stub
from twostage.rpc.channels import Replicas
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings


class Scripted:
    """Answers with its name.

    Args:
        name: Its name.

    Attributes:
        seconds: How long it takes.
        error: What it raises instead of answering.
        asked_count: Calls that reached it.
        cancelled: Set once a caller lost interest.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        self.error: Exception | None = None
        self.asked_count = 0
        self.cancelled = threading.Event()

    def say(self, _request: StringValue, context: grpc.ServicerContext) -> StringValue:
        self.asked_count += 1
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            if not context.is_active():
                self.cancelled.set()
                break
            time.sleep(0.005)
        if self.error is not None:
            raise self.error
        return StringValue(value=self.name)

    def register(self, server: grpc.Server) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self.say, request_deserializer=StringValue.FromString, response_serializer=StringValue.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Say": handler}),))

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[ServiceServer]:
        settings = ServiceSettings(port=port, max_workers=32)
        with ServiceServer("scripted", [SERVICE], self.register, settings, registry=CollectorRegistry()) as server:
            yield server


@contextmanager
def scripted(*names: str, **more: Any) -> Iterator[tuple[list[Scripted], Replicas[Any]]]:
    """Serves replicas and connects to them.

    Args:
        names: Of the replicas.
        more: For `Replicas`.
    """
    servers = [Scripted(name) for name in names]
    with ExitStack() as stack:
        addresses = [stack.enter_context(server.serving()).address for server in servers]
        replicas = stack.enter_context(Replicas(",".join(addresses), say_stub, **{"service_config": "{}", **more}))
        _connect(replicas)
        for server in servers:
            server.asked_count = 0
        yield servers, replicas


def _connect(replicas: Replicas[Any]) -> None:
    """Waits until every connection stands: on a busy machine a call may be given up before it is sent."""
    for replica in replicas.connections():
        replica.stub(StringValue(), timeout=60, wait_for_ready=True)
