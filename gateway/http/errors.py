"""Errors as HTTP tells them: a status, and JSON with the gRPC code, the message and the details.

The form is that of the Connect protocol (https://connectrpc.com/docs/protocol#error-end-stream)::

    {"code": "invalid_argument", "message": "count: expected 1 to 200, received 0",
     "details": [{"type": "google.rpc.BadRequest", "value": "<base64>", "debug": {"fieldViolations": […]}}]}
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status

from twostage.errors import InvalidField
from twostage.rpc.errors import to_status
from twostage.rpc.http_status import HTTP_STATUS

_CONNECT_NAMES = {grpc.StatusCode.CANCELLED: "canceled"}
_TYPE_URL = "type.googleapis.com/"
# What of the standard details is told in readable form too; importing them makes json_format know them.
_READABLE = ("google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo")


class HttpError(Exception):
    """A request that is answered with an error.

    Args:
        code: The gRPC code.
        message: One sentence for the caller.
        details: What gRPC sends as details.
        status: The HTTP status where it is not that of the code.
        headers: Further headers.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        details: Iterable[AnyMessage] = (),
        *,
        status: int | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = tuple(details)
        self.status = HTTP_STATUS[code] if status is None else status
        self.headers = (*headers, *_standard_headers(code, self.details))

    def body(self) -> bytes:
        """The JSON."""
        told: dict[str, Any] = {"code": code_name(self.code), "message": str(self)}
        if self.details:
            told["details"] = [_detail(each) for each in self.details]
        return json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")


def code_name(code: grpc.StatusCode) -> str:
    """A code's name in JSON, e.g. ``invalid_argument``."""
    return _CONNECT_NAMES.get(code, code.name.lower())


def of_rpc(error: grpc.RpcError) -> HttpError:
    """The error of a call to the gateway, with all that the gateway said."""
    call = _as_call(error)
    code = call.code() if call is not None else grpc.StatusCode.UNKNOWN
    message = (call.details() if call is not None else None) or "the gateway gave no reason"
    try:
        status = rpc_status.from_call(call) if call is not None else None
    except ValueError:
        # The details disagree with the status itself, e.g. a proxy rewrote it: the status counts.
        status = None
    if status is None and code is grpc.StatusCode.UNAVAILABLE:
        # The transport's own words tell addresses.
        message = "the gateway cannot be reached"
    return HttpError(code, message, () if status is None else status.details)


def _as_call(error: object) -> grpc.Call | None:
    # What stubs raise is both an RpcError and a Call; the type stubs cannot say so.
    return error if isinstance(error, grpc.Call) else None


def of_field(error: InvalidField) -> HttpError:
    """The error of a request that does not reach the gateway, as the gateway would tell it."""
    packed = next(value for key, value in to_status(error).trailing_metadata if key == "grpc-status-details-bin")
    status = status_pb2.Status.FromString(packed)
    return HttpError(grpc.StatusCode.INVALID_ARGUMENT, status.message, status.details)


def _detail(packed: AnyMessage) -> dict[str, Any]:
    name = packed.type_url.removeprefix(_TYPE_URL)
    # Without padding, as the protocol has it.
    told: dict[str, Any] = {"type": name, "value": base64.b64encode(packed.value).decode().rstrip("=")}
    if name in _READABLE:
        readable = json_format.MessageToDict(packed)
        readable.pop("@type", None)
        told["debug"] = readable
    return told


def _standard_headers(code: grpc.StatusCode, details: Iterable[AnyMessage]) -> Iterable[tuple[bytes, bytes]]:
    if code is grpc.StatusCode.UNAUTHENTICATED:
        yield b"www-authenticate", b"Bearer"
    for packed in details:
        retry = error_details_pb2.RetryInfo()
        if packed.Unpack(retry):
            yield b"retry-after", str(max(1, math.ceil(retry.retry_delay.ToNanoseconds() / 1e9))).encode()
