"""Calls of the gateway's methods over gRPC, waited for without holding a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from gateway.http.errors import HttpError, of_rpc
from twostage.v1 import gateway_pb2

SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"]

_HEALTH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Method:
    """One of the gateway's methods.

    Args:
        name: As in the contract, e.g. ``SimilarItems``.
        request: The class of its request.
        response: The class of its response.
    """

    name: str
    request: type[Message]
    response: type[Message]

    @property
    def rpc_path(self) -> str:
        """Its path in gRPC and in the Connect protocol."""
        return f"/{SERVICE.full_name}/{self.name}"

    @property
    def plain_path(self) -> str:
        """Its path for people, e.g. ``/v1/similar-items``."""
        words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in self.name)
        return f"/v1/{words.lstrip('-')}"


METHODS: Mapping[str, Method] = {
    method.name: Method(method.name, GetMessageClass(method.input_type), GetMessageClass(method.output_type))
    for method in SERVICE.methods
}
"""All public methods by name."""


class Calls:
    """Calls a gateway.

    Args:
        channel: To the gateway; closed by whoever opened it.
        max_wait_seconds: How long a call without a deadline is waited for.
    """

    def __init__(self, channel: grpc.Channel, *, max_wait_seconds: float) -> None:
        self._max_wait_seconds = max_wait_seconds
        self._stubs = {
            method.name: channel.unary_unary(
                method.rpc_path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for method in METHODS.values()
        }
        self._check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def call(
        self, method: Method, request: Message, timeout_seconds: float | None, metadata: Sequence[tuple[str, str]]
    ) -> Message:
        """Calls a method.

        Args:
            method: Which.
            request: What is asked.
            timeout_seconds: The caller's deadline, which the gateway is told; None where there is none.
            metadata: What the caller says of itself.

        Raises:
            HttpError: The gateway answers with an error, or not in time.
        """
        try:
            async with asyncio.timeout(self._max_wait_seconds if timeout_seconds is None else None):
                call = self._stubs[method.name].future(request, timeout_seconds, tuple(metadata))
                response: Message = await _finished(call)
                return response
        except TimeoutError:
            words = f"the gateway did not answer within {self._max_wait_seconds:g} s"
            raise HttpError(grpc.StatusCode.DEADLINE_EXCEEDED, words) from None
        except grpc.RpcError as error:
            raise of_rpc(error) from error

    async def serving(self) -> bool:
        """Whether the gateway says that it serves."""
        question = health_pb2.HealthCheckRequest(service=SERVICE.full_name)
        try:
            answer = await _finished(self._check.future(question, _HEALTH_SECONDS))
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _finished(call: Any) -> Any:
    """What a call answers; a caller that goes away takes the call with it.

    The stubs of `grpc.aio` would do without the hop between threads, but channels that carry TLS and credentials are of
    the other kind here, and the hop costs some tens of microseconds.

    Raises:
        grpc.RpcError: It failed.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def on_done(_: object) -> None:
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            # The loop was closed: nobody waits any more.
            return

    call.add_done_callback(on_done)
    try:
        await done
    except asyncio.CancelledError:
        call.cancel()
        raise
    return call.result()
