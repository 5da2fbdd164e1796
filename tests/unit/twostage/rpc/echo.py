"""A small real service, in this process or in one of its own: ``python -m tests.unit.twostage.rpc.echo``.

A request is a text that says what happens: ``sleep 0.5``, ``boom``, ``status``, ``pid`` or ``peer``, answered with
the process's id or the caller's address, a domain error's name, or anything else, which is sent back.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from tests.unit.twostage.rpc.echo_service.settings import EchoSettings
from twostage import errors
from twostage.rpc import caller, request_event
from twostage.rpc.gates import Gate
from twostage.rpc.launch import launch
from twostage.rpc.server import ServiceServer

SERVICE = "test.Echo"
ERRORS: dict[str, Callable[[], errors.TwostageError]] = {
    "InvalidField": lambda: errors.InvalidField("count", "1 to 200", 0),
    "NotFound": lambda: errors.NotFound("no such thing"),
    "ItemNotFound": lambda: errors.ItemNotFound("b1"),
    "UserNotFound": lambda: errors.UserNotFound("alice@example.org"),
    "GenerationNotLoaded": lambda: errors.GenerationNotLoaded(9, [8, 7]),
    "NotWhole": lambda: errors.NotWhole(1, 4),
    "NotReady": lambda: errors.NotReady("model server does not answer"),
    "Overloaded": lambda: errors.Overloaded(0.25),
    "DeadlineSpent": lambda: errors.DeadlineSpent("before retrieval"),
    "Unauthenticated": errors.Unauthenticated,
    "PermissionDenied": errors.PermissionDenied,
}


def say(request: StringValue, context: grpc.ServicerContext) -> StringValue:
    text = request.value
    request_event.attach(generation=7, candidate_count=500)
    if text.startswith("sleep "):
        time.sleep(float(text.removeprefix("sleep ")))
    if text == "pid":
        return StringValue(value=str(os.getpid()))
    if text == "peer":
        return StringValue(value=context.peer())
    if text == "caller":
        return StringValue(value=caller.current().name)
    if text == "boom":
        raise RuntimeError("the secret of the house")
    if text == "abort":
        context.abort(grpc.StatusCode.ALREADY_EXISTS, "by hand")
    if text in ERRORS:
        error = ERRORS[text]()
        raise error
    return StringValue(value=text)


def register(server: grpc.Server) -> None:
    def handler(behavior: Callable[[Any, Any], Any]) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            behavior, request_deserializer=StringValue.FromString, response_serializer=StringValue.SerializeToString
        )

    handlers = {"Say": handler(say), "GetStatus": handler(lambda _request, _context: StringValue(value="here"))}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def say_stub(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        f"/{SERVICE}/Say",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )


def status_stub(channel: grpc.Channel) -> Any:
    return _stub(channel, "GetStatus")


def _stub(channel: grpc.Channel, method: str) -> Any:
    return channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )


def echo_server(
    logger: FilteringBoundLogger | None = None, *, gates: Sequence[Gate] = (), **settings: Any
) -> ServiceServer:
    return ServiceServer(
        "echo", [SERVICE], register, EchoSettings(**settings), registry=CollectorRegistry(), logger=logger, gates=gates
    )


@contextmanager
def connected(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def failed(ask: Callable[[], object]) -> grpc.RpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        ask()
    return caught.value


def call_of(error: object) -> grpc.Call:
    """The same error as the call that it is."""
    assert isinstance(error, grpc.Call)
    return error


def build(settings: EchoSettings, logger: FilteringBoundLogger) -> tuple[ServiceServer, Callable[[], None]]:
    server = ServiceServer("echo", [SERVICE], register, settings, logger=logger)
    server.on_close(lambda: logger.info("first"))
    server.on_close(lambda: logger.info("second"))

    def prepare() -> None:
        logger.info("preparing", port=server.port)
        server.metrics.set_generation(7)
        if settings.prepare.startswith("sleep "):
            time.sleep(float(settings.prepare.removeprefix("sleep ")))
        needed = settings.prepare.removeprefix("need ")
        if settings.prepare == "refuse" or (needed != settings.prepare and not Path(needed).exists()):
            raise ValueError("store: expected a generation,\nreceived an empty folder")
        if settings.prepare == "defect":
            raise KeyError("forgotten")

    return server, prepare


if __name__ == "__main__":
    sys.exit(launch("echo", EchoSettings, {}, build))
