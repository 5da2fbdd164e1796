"""How much a gateway can answer: the rate beyond which more requests bring no more answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

KEPT_UP_SHARE = 0.95
"""A rate is kept up with when this part of it is answered in time."""
_GROWTH = 1.6
_CLOSE_ENOUGH = 1.1
_MAX_STEPS = 24


@dataclass(frozen=True)
class Saturation:
    """What a search found.

    Args:
        rate: The highest rate that was kept up with, requests a second; 0 when not even the first was.
        peak_goodput: The most requests that were answered in time in a second, at whatever rate.
        steps: Every rate that was tried and its goodput, in the order in which they were tried.
        bounded: False when every rate that was allowed was kept up with.
    """

    rate: float
    peak_goodput: float
    steps: tuple[tuple[float, float], ...]
    bounded: bool


def find_saturation(
    measure: Callable[[float], float], *, first_rate: float = 20.0, max_rate: float = 100_000.0
) -> Saturation:
    """Raises the rate by factors until it is not kept up with, then halves the gap until it is a tenth.

    Args:
        measure: Offers a rate, requests a second, and returns the goodput, answers in time a second.
        first_rate: Tried first, above 0; where it is too much, the search goes down from it.
        max_rate: Never exceeded.
    """
    steps: list[tuple[float, float]] = []

    def kept_up(rate: float) -> bool:
        goodput = measure(rate)
        steps.append((rate, goodput))
        return goodput >= KEPT_UP_SHARE * rate

    low, high = 0.0, 0.0
    rate = min(first_rate, max_rate)
    while len(steps) < _MAX_STEPS:
        if kept_up(rate):
            low = rate
            if high or rate >= max_rate:
                break
            rate = min(rate * _GROWTH, max_rate)
        else:
            high = rate
            if low or rate < 1.0:
                break
            rate /= _GROWTH
    while low and high > low * _CLOSE_ENOUGH and len(steps) < _MAX_STEPS:
        middle = (low * high) ** 0.5
        if kept_up(middle):
            low = middle
        else:
            high = middle
    return Saturation(low, max(goodput for _, goodput in steps), tuple(steps), bounded=high > 0)
