"""What a servicer tells about the request it works on, for the one log event that the request gets.

::

    request_event.attach(generation=7, rung="FULL", candidate_count=500, retrieval_ms=3.1)

Attach counts, generations, rungs and milliseconds; never a raw user id, never a vector.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

_facts: ContextVar[dict[str, object] | None] = ContextVar("twostage_request_facts", default=None)


def attach(**facts: object) -> None:
    """Adds facts to the event of the current request; outside a request it does nothing.

    A later fact of the same name replaces the earlier. Work handed to another thread has no current request.
    """
    current = _facts.get()
    if current is not None:
        current.update(facts)


def fact(name: str) -> object:
    """A fact that was attached to the event of the current request; None when it was not, and outside a request."""
    current = _facts.get()
    return current.get(name) if current is not None else None


def begin() -> tuple[dict[str, object], Token[dict[str, object] | None]]:
    """Starts collecting facts; for the interceptor, which hands the token back to `end`."""
    facts: dict[str, object] = {}
    return facts, _facts.set(facts)


def end(token: Token[dict[str, object] | None]) -> None:
    """Stops collecting: threads are used again, and the next request must not inherit these facts."""
    _facts.reset(token)
