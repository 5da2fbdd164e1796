"""Who makes the call that is being worked on, for whoever limits callers or answers them differently."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

DEFAULT_PRIORITY = 5
"""The priority of callers to whom none was given."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as it is known.

    Args:
        name: The client's name; empty for anybody where clients need not say who they are.
        priority: 0..9, the higher the later it is refused when there is too much to do.
        requests_per_second: How many requests it may make on average; None for any number.
        burst: How many it may make at once after a silence; 1 or more, only where there is a rate.
        may_explain: Whether it may ask for explanations and traces.
    """

    name: str = ""
    priority: int = DEFAULT_PRIORITY
    requests_per_second: float | None = None
    burst: int = 1
    may_explain: bool = True


ANYBODY = Caller()
"""The caller where clients need not say who they are."""

_caller: ContextVar[Caller] = ContextVar("twostage_caller", default=ANYBODY)


def current() -> Caller:
    """The caller of the current request; `ANYBODY` outside one."""
    return _caller.get()


def set_current(caller: Caller) -> None:
    """Says who calls; for the gate that found it out. The interceptor takes it back when the call has ended."""
    _caller.set(caller)


def forget_current() -> None:
    """Takes the caller back: threads are used again."""
    _caller.set(ANYBODY)
