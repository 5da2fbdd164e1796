"""Waiting until a system has come to rest."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.whole.answers import FULL, Asked
from benchmarks.whole.systems import NotAnswered, System


def settle(system: System, asked: Asked, usual_seconds: float, most_seconds: float = 20.0) -> None:
    """Waits until a system answers in full and about as fast as when idle; gives up after a while.

    Args:
        system: It has just been loaded.
        asked: What it is asked.
        usual_seconds: How long an answer takes when idle.
        most_seconds: When to give up.
    """
    until(lambda: _answers_within(system, asked, 3 * usual_seconds + 0.005), most_seconds)


def until(holds: Callable[[], bool], most_seconds: float) -> bool:
    """Waits until something held three times in a row; False when it did not in time."""
    deadline = time.monotonic() + most_seconds
    in_a_row = 0
    while in_a_row < 3:
        if time.monotonic() > deadline:
            return False
        in_a_row = in_a_row + 1 if holds() else 0
        time.sleep(0.02)
    return True


def _answers_within(system: System, asked: Asked, seconds: float) -> bool:
    started = time.perf_counter()
    try:
        answer = system.ask(asked)
    except NotAnswered:
        return False
    return answer.rung == FULL and time.perf_counter() - started <= seconds
