"""How much of the caller's time is left."""

from __future__ import annotations

from typing import Protocol

from twostage.errors import DeadlineSpent

# gRPC reports "no deadline" as one that lies centuries ahead.
_NO_DEADLINE_SECONDS = 365 * 24 * 3600.0


class HasDeadline(Protocol):
    """The part of `grpc.ServicerContext` that knows the deadline."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None or a huge number when it waits for ever."""


def remaining_seconds(context: HasDeadline, default: float, *, least: float = 0.0, during: str = "") -> float:
    """Reads the time that is left for a request.

    Args:
        context: The servicer's context.
        default: What to assume when the caller set no deadline, in seconds, above 0.
        least: Work shorter than this is not worth starting, in seconds; 0 by default.
        during: What is about to be done, for the message, e.g. ``before retrieval``.

    Returns:
        Seconds, always above `least`; never more than the caller's own deadline.

    Raises:
        DeadlineSpent: No more than `least` is left.
    """
    remaining = context.time_remaining()
    if remaining is None or remaining > _NO_DEADLINE_SECONDS:
        remaining = default
    if remaining <= least:
        raise DeadlineSpent(during) if during else DeadlineSpent()
    return remaining
