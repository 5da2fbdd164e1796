"""How domain errors travel over gRPC: one dict from exception to status code, and the details beside it.

The tree, and the code and ErrorInfo reason each leaf is told with::

    TwostageError                    (abstract)
    ├── InvalidField                 INVALID_ARGUMENT     INVALID_FIELD, with BadRequest violations
    ├── NotFound                     NOT_FOUND            NOT_FOUND
    │   ├── ItemNotFound             NOT_FOUND            ITEM_NOT_FOUND
    │   └── UserNotFound             NOT_FOUND            USER_NOT_FOUND
    ├── GenerationNotLoaded          FAILED_PRECONDITION  GENERATION_NOT_LOADED, metadata: wanted, held
    ├── NotReady                     UNAVAILABLE          NOT_READY
    ├── Overloaded                   RESOURCE_EXHAUSTED   OVERLOADED, with RetryInfo
    ├── DeadlineSpent                DEADLINE_EXCEEDED    DEADLINE_SPENT
    ├── Unauthenticated              UNAUTHENTICATED      UNAUTHENTICATED
    └── PermissionDenied             PERMISSION_DENIED    PERMISSION_DENIED
    anything else                    INTERNAL             INTERNAL, message "internal error"

The classes live in `twostage.errors`, which knows no transport; this module is the edge. The interceptor turns what
a servicer raises into a status (`to_status`), a client adapter turns a status back (`from_rpc_error`).
The shape of the details follows https://google.aip.dev/193.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status

from twostage.errors import (
    DeadlineSpent,
    GenerationNotLoaded,
    InvalidField,
    ItemNotFound,
    NotFound,
    NotReady,
    NotWhole,
    Overloaded,
    PermissionDenied,
    TwostageError,
    Unauthenticated,
    UserNotFound,
    Violation,
)

__all__ = [
    "DOMAIN",
    "STATUS_CODES",
    "DeadlineSpent",
    "GenerationNotLoaded",
    "InvalidField",
    "ItemNotFound",
    "NotFound",
    "NotReady",
    "NotWhole",
    "Overloaded",
    "PermissionDenied",
    "TwostageError",
    "Unauthenticated",
    "UserNotFound",
    "Violation",
    "error_info",
    "from_rpc_error",
    "status_code",
    "to_status",
]

M = TypeVar("M", bound=Message)
_Details = list[any_pb2.Any]

DOMAIN = "twostage"
INTERNAL_REASON = "INTERNAL"
INTERNAL_MESSAGE = "internal error"

STATUS_CODES: dict[type[TwostageError], grpc.StatusCode] = {
    InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    ItemNotFound: grpc.StatusCode.NOT_FOUND,
    UserNotFound: grpc.StatusCode.NOT_FOUND,
    GenerationNotLoaded: grpc.StatusCode.FAILED_PRECONDITION,
    NotWhole: grpc.StatusCode.FAILED_PRECONDITION,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlineSpent: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
}


def status_code(error: BaseException) -> grpc.StatusCode:
    """The code that a caller sees for an error; INTERNAL for whatever is not in `STATUS_CODES`."""
    # By exact class: a new class must state its own code, and a test fails until it does.
    return STATUS_CODES.get(type(error), grpc.StatusCode.INTERNAL)  # type: ignore[arg-type]


def to_status(error: BaseException) -> grpc.Status:
    """Builds what `context.abort_with_status` wants: code, message and ``grpc-status-details-bin``.

    Args:
        error: What a servicer raised. Errors without a code of their own become INTERNAL, and nothing of them is told.
    """
    code = status_code(error)
    details: list[Message]
    if isinstance(error, TwostageError) and code is not grpc.StatusCode.INTERNAL:
        message = error.message
        details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
        if isinstance(error, InvalidField):
            details.append(_bad_request(error))
        elif isinstance(error, Overloaded):
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    else:
        message = INTERNAL_MESSAGE
        details = [error_details_pb2.ErrorInfo(reason=INTERNAL_REASON, domain=DOMAIN)]
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return rpc_status.to_status(status)


def _bad_request(error: InvalidField) -> error_details_pb2.BadRequest:
    field_violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[
            field_violation(field=violation.field, description=violation.description, reason=error.reason)
            for violation in error.violations
        ]
    )


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    """The ErrorInfo of a failed call when a Twostage server wrote one, else None."""
    return _detail(_details(error), error_details_pb2.ErrorInfo)


def from_rpc_error(error: grpc.RpcError) -> TwostageError | None:
    """Turns a failed call back into the domain error that the server raised.

    Only errors that a caller inside Twostage acts on come back: GenerationNotLoaded, NotReady, Overloaded,
    DeadlineSpent. A transport's own UNAVAILABLE is NotReady and its own DEADLINE_EXCEEDED is DeadlineSpent.

    Args:
        error: What the stub raised.

    Returns:
        The domain error, or None for everything else (a bug on either side: let it be INTERNAL).
    """
    call = _as_call(error)
    code = call.code() if call is not None else None
    details = _details(error)
    info = _detail(details, error_details_pb2.ErrorInfo)
    if info is not None and info.domain == DOMAIN and info.reason in _FROM_REASON:
        return _FROM_REASON[info.reason](error, details, info)
    if code is grpc.StatusCode.UNAVAILABLE:
        return NotReady(_message(error))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineSpent("waiting for an answer")
    return None


def _as_call(error: object) -> grpc.Call | None:
    # What stubs raise is both an RpcError and a Call; the type stubs cannot say so.
    return error if isinstance(error, grpc.Call) else None


def _message(error: grpc.RpcError) -> str:
    call = _as_call(error)
    return (call.details() if call is not None else None) or "the peer gave no reason"


def _details(error: grpc.RpcError) -> _Details:
    call = _as_call(error)
    if call is None:
        return []
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        # The details disagree with the status itself, e.g. a proxy rewrote it: the status counts.
        return []
    return list(status.details) if status is not None else []


def _detail(details: _Details, kind: type[M]) -> M | None:
    for packed in details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def _generation_not_loaded(
    _error: grpc.RpcError, _details: _Details, info: error_details_pb2.ErrorInfo
) -> GenerationNotLoaded:
    held = info.metadata["held"]
    return GenerationNotLoaded(int(info.metadata["wanted"]), [int(text) for text in held.split(",") if text])


def _overloaded(_error: grpc.RpcError, details: _Details, _info: error_details_pb2.ErrorInfo) -> Overloaded:
    retry = _detail(details, error_details_pb2.RetryInfo)
    return Overloaded(retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else 0.0)


_FROM_REASON: dict[str, Callable[[grpc.RpcError, _Details, error_details_pb2.ErrorInfo], TwostageError]] = {
    GenerationNotLoaded.reason: _generation_not_loaded,
    Overloaded.reason: _overloaded,
    NotReady.reason: lambda error, _details, _info: NotReady(_message(error).removeprefix("not ready: ")),
    DeadlineSpent.reason: lambda _error, _details, _info: DeadlineSpent("by the answering server"),
}
