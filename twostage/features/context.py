"""A request's context as numbers that rankers read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONTEXT_SIZE = 6
"""has time, sin and cos of the hour, sin and cos of the weekday, log history length / log 51."""

_DAY = 86_400
_WEEK = 7 * _DAY


@dataclass(frozen=True)
class Context:
    """Where and when a recommendation is asked for.

    Args:
        surface: E.g. ``home`` or ``item_page``; empty when unknown.
        device: E.g. ``phone``; empty when unknown.
        locale: A BCP 47 tag; empty when unknown.
        time_seconds: Unix seconds of the request, 0 when unknown.
        attributes: Further facts, at most 32.
    """

    surface: str = ""
    device: str = ""
    locale: str = ""
    time_seconds: int = 0
    attributes: dict[str, str] = field(default_factory=dict)


def encode_context(context: Context, history_count: int) -> NDArray[np.float32]:
    """Encodes a context.

    Args:
        context: The request's context; only its time is read by the rankers of format version 1.
        history_count: The number of history entries, before the cut to 50.

    Returns:
        float32[1, 6] as CONTEXT_SIZE lists them.
    """
    encoded = np.zeros((1, CONTEXT_SIZE), np.float32)
    seconds = context.time_seconds
    if seconds > 0:
        hour = 2 * math.pi * (seconds % _DAY) / _DAY
        # 1970-01-01 was a Thursday; which day is zero does not matter to a sine and a cosine.
        week = 2 * math.pi * (seconds % _WEEK) / _WEEK
        encoded[0, :5] = (1.0, math.sin(hour), math.cos(hour), math.sin(week), math.cos(week))
    encoded[0, 5] = math.log1p(min(history_count, 50)) / math.log(51)
    return encoded
