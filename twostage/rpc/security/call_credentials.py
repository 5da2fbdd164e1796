"""Channels whose calls all carry a caller's credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

API_KEY_METADATA = "x-api-key"
"""The metadata that carries an API key."""
TOKEN_METADATA = "authorization"  # noqa: S105 - the name of the header, no secret
"""The metadata that carries ``Bearer`` and a token."""


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Adding(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, metadata: Callable[[], tuple[tuple[str, str], ...]]) -> None:
        self._metadata = metadata

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], client_call_details: Any, request: Any
    ) -> Any:
        given = client_call_details
        details = _Details(
            given.method,
            given.timeout,
            (*(given.metadata or ()), *self._metadata()),
            given.credentials,
            given.wait_for_ready,
            given.compression,
        )
        return continuation(details, request)


def with_credentials(channel: grpc.Channel, api_key: str | None, token: Callable[[], str] | None) -> grpc.Channel:
    """A channel that adds credentials to every unary call; the channel itself where there are none.

    They are added here and not by gRPC's own call credentials, which refuse to travel where nothing is encrypted: on
    one machine, or to a proxy beside the program that encrypts.

    Args:
        channel: Where the calls go.
        api_key: Sent as ``x-api-key``.
        token: Asked at every call for what is sent as ``authorization: Bearer …``.
    """
    if api_key is None and token is None:
        return channel

    def metadata() -> tuple[tuple[str, str], ...]:
        key = ((API_KEY_METADATA, api_key),) if api_key is not None else ()
        bearer = ((TOKEN_METADATA, f"Bearer {token()}"),) if token is not None else ()
        return (*key, *bearer)

    return grpc.intercept_channel(channel, _Adding(metadata))
