"""From a failed call to what the pipeline does about it."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status

from gateway.engine.ladder import (
    StageFailure,
    StageLate,
    StageOverloaded,
    StageUnavailable,
    StageWithoutGeneration,
)
from twostage.errors import GenerationNotLoaded, InvalidField, NotReady, Violation
from twostage.rpc.channels import Replicas
from twostage.rpc.errors import error_info, from_rpc_error
from twostage.rpc.replica import Replica

# Of what the stages are sent the gateway makes these itself: whatever is wrong with them is no fault of the caller's.
_OWN_FIELDS = (
    "generation",
    "history",
    "candidates",
    "exclude_rows",
    "include_item_ids",
    "selection.pinned_rows",
    "shard",
)


class _Relayed(Violation):
    """A violation that a stage described in words of its own."""

    @property
    def description(self) -> str:
        return self.expected


def raise_failure(
    stage: str, error: grpc.RpcError, timeout_seconds: float, *, replica: Replica[Any], part: str = ""
) -> NoReturn:
    """Raises what a failed call means, and takes note of what the replica says it holds.

    Args:
        stage: ``retrieval`` or ``ranking``.
        error: What the stub raised.
        timeout_seconds: How long was waited at most.
        replica: Who was asked.
        part: Which part of the stage was asked, e.g. ``shard 2 of 3``; empty for all of it.

    Raises:
        InvalidField: The stage refuses the request, with its own words; the caller is told.
        StageFailure: Everything else; the request goes a rung lower.
    """
    call = _as_call(error)
    code = call.code() if call is not None else grpc.StatusCode.UNKNOWN
    if code is grpc.StatusCode.INVALID_ARGUMENT and call is not None:
        violations = _violations(call)
        if violations and not any(violation.field.startswith(_OWN_FIELDS) for violation in violations):
            raise InvalidField.several(violations) from error
    details = call.details() if call is not None else None
    place = f"{part}: " if part else ""
    failure = _stage_failure(stage, code, details or "no reason given", error, timeout_seconds, place, replica)
    raise failure from error


def raise_nobody(stage: str, error: NotReady, replicas: Replicas[Any], *, part: str = "") -> NoReturn:
    """Raises what it means that there was nobody to ask.

    Args:
        stage: ``retrieval`` or ``ranking``.
        error: What choosing a replica raised.
        replicas: Among which.
        part: Which part of the stage, e.g. ``shard 2 of 3``; empty for all of it.

    Raises:
        StageWithoutGeneration: They are there, and gave the generation up since it was chosen.
        StageUnavailable: There is none.
    """
    place = f"{part}: " if part else ""
    if replicas.connections():
        raise StageWithoutGeneration(stage, f"{place}no replica holds the generation any more", error.why) from error
    raise StageUnavailable(stage, f"{place}no replica was found", detail=error.why) from error


def _as_call(error: object) -> grpc.Call | None:
    # What stubs raise is both an RpcError and a Call; the type stubs cannot say so.
    return error if isinstance(error, grpc.Call) else None


def _stage_failure(
    stage: str,
    code: grpc.StatusCode,
    details: str,
    error: grpc.RpcError,
    timeout_seconds: float,
    place: str,
    replica: Replica[Any],
) -> StageFailure:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return StageLate(stage, f"{place}no answer within {timeout_seconds * 1000:.0f} ms")
    known = from_rpc_error(error)
    if isinstance(known, GenerationNotLoaded):
        replica.correct(known.held)
        held = ", ".join(map(str, known.held)) or "none"
        return StageWithoutGeneration(stage, f"{place}generation {known.wanted} is not loaded there, held: {held}")
    text = " ".join(details.split())[:160]
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return StageOverloaded(stage, f"{place}refuses work, it has too much", detail=text)
    if error_info(error) is not None:
        return StageUnavailable(stage, f"{place}{code.name}: {text}")
    # A transport's own words name addresses, which callers need not know.
    why = "cannot be reached" if code is grpc.StatusCode.UNAVAILABLE else f"failed with {code.name}"
    return StageUnavailable(stage, place + why, detail=text)


def _violations(call: grpc.Call) -> list[Violation]:
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        return []
    for packed in status.details if status is not None else ():
        request = error_details_pb2.BadRequest()
        if packed.Unpack(request):
            return [_Relayed(found.field, found.description, None) for found in request.field_violations]
    return []
