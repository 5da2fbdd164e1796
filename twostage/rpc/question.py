"""What is asked of a service's replicas, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc

from twostage.rpc.replica import Replica

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class NoAnswer(Exception):
    """A call failed, at every replica that was asked.

    Args:
        error: The failure that tells most: the first, unless that was only that somebody could not be reached.
        replica: Who failed so.

    Attributes:
        part: Which of several questions asked at once it was, from 0.
    """

    def __init__(self, error: grpc.RpcError, replica: Replica[Any]) -> None:
        super().__init__("no answer")
        self.part = 0
        self.error = error
        self.replica = replica


class Question(NamedTuple):
    """What is asked.

    Args:
        method: Takes the method from a stub, e.g. ``lambda stub: stub.Rank``.
        message: The request, which must stay as it is until there is an answer.
        deadline: By ``time.perf_counter``, when the answer must be there.
        holding: One of these generations must be held by whoever is asked.
    """

    method: Callable[[Any], Any]
    message: Any
    deadline: float
    holding: Sequence[int] = ()


def more_telling(first: NoAnswer | None, then: NoAnswer) -> NoAnswer:
    """Which of two attempts' failures is told."""
    if first is None or (status_of(first.error) is _UNAVAILABLE and status_of(then.error) is not _UNAVAILABLE):
        return then
    return first


def status_of(error: object) -> grpc.StatusCode:
    """The status that a call failed with; UNKNOWN for an error that is no call's."""
    # What stubs raise is both an RpcError and a Call; the type stubs cannot say so.
    code = error.code() if isinstance(error, grpc.Call) else None
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN
