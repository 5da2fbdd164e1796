"""How soon an event is known to the answers of the person who caused it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.whole.answers import Asked
from benchmarks.whole.people import KnownPerson
from benchmarks.whole.systems import NotAnswered, System

_T = TypeVar("_T")

_MOST_SECONDS = 5.0
_AGAIN_SECONDS = 0.02


def freshness(system: System, people: Sequence[KnownPerson], action: str, count: int) -> list[float]:
    """Seconds from recording that somebody acted on the first item of their answer until an answer does without it.

    That is two calls at least, one after the other; where the event is not known at once, as many as it takes.

    Args:
        system: It serves.
        people: Whose events; what they have seen grows.
        action: What they do.
        count: How many events, by turns.

    Raises:
        TimeoutError: An event was not known for five seconds.
        NotAnswered: Nothing was answered for five seconds.
    """
    return [_once(system, people[position % len(people)].asked, action) for position in range(count)]


def _once(system: System, asked: Asked, action: str) -> float:
    item_id = _insist(lambda: system.ask(asked)).item_ids[0]
    started = time.perf_counter()
    _insist(lambda: system.record(asked.user_id, item_id, action))
    while item_id in _insist(lambda: system.ask(asked)).item_ids:
        if time.perf_counter() - started > _MOST_SECONDS:
            raise TimeoutError(f"{system.name}: expected an event to be known in {_MOST_SECONDS:g} s, it is not")
    return time.perf_counter() - started


def _insist(once: Callable[[], _T]) -> _T:
    """Does something again as long as it is refused, as a client does; the time that takes counts."""
    deadline = time.perf_counter() + _MOST_SECONDS
    while True:
        try:
            return once()
        except NotAnswered:
            if time.perf_counter() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
