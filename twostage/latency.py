"""How long calls of one kind took of late."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

# How many calls, and how much time, may pass before quantiles are computed anew.
_RENEWED_AFTER = 16
_RENEWED_SECONDS = 0.5


class LatencyWindow:
    """The latencies of the newest calls, in a window that slides.

    A quantile is the nearest rank: of ``n`` latencies in ascending order the one at ``ceil(share * n)``, which was
    measured and not made up between two (definition 1 of Hyndman and Fan, "Sample quantiles in statistical packages",
    The American Statistician 50, 1996). Where several come in at once their order does not matter, so recording takes
    no lock; quantiles are read from a sorted copy that is made anew after every 16 calls.

    Args:
        size: At most so many calls count, the newest; 128 by default, so that what was long ago is soon
            outvoted.
        seconds: Older ones than this do not count; 10 by default. So a stage that is asked no more, because it was
            slow, is soon one of which nothing is known, and is asked again.
        least_count: With fewer nothing is known; 20 by default.
        on_measured: Called with (p50, p95), in seconds, whenever they were computed anew; nobody is told when None.
        clock: Seconds that only grow; for tests.
    """

    def __init__(
        self,
        *,
        size: int = 128,
        seconds: float = 10.0,
        least_count: int = 20,
        on_measured: Callable[[float, float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ring: list[tuple[float, float]] = [(-math.inf, 0.0)] * size
        self._size = size
        self._seconds = seconds
        self._least_count = least_count
        self._on_measured = on_measured
        self._clock = clock
        self._turns = itertools.count()
        self._unsorted_count = 0
        self._sorted: list[float] = []
        self._sorted_at = -math.inf

    def record(self, seconds: float) -> None:
        """Takes note of a call that was answered, or that another one outran, with the time it was waited for."""
        self._ring[next(self._turns) % self._size] = (self._clock(), seconds)
        self._unsorted_count += 1

    def quantile(self, share: float) -> float | None:
        """The latency that this share of the calls did not exceed, in seconds.

        Args:
            share: Above 0, at most 1.

        Returns:
            None while there are too few calls to tell.
        """
        known = self._known()
        return _nearest_rank(known, share) if len(known) >= self._least_count else None

    def _known(self) -> list[float]:
        now = self._clock()
        # A window that moves by itself, without calls, is looked at now and then too.
        if self._unsorted_count >= min(_RENEWED_AFTER, self._least_count) or now - self._sorted_at > _RENEWED_SECONDS:
            self._unsorted_count = 0
            self._sorted_at = now
            # One copy, which the interpreter makes without letting another thread in between.
            ring = self._ring[:]
            self._sorted = sorted(latency for at, latency in ring if now - at <= self._seconds)
            if self._on_measured is not None and len(self._sorted) >= self._least_count:
                self._on_measured(_nearest_rank(self._sorted, 0.5), _nearest_rank(self._sorted, 0.95))
        return self._sorted


def _nearest_rank(ascending: list[float], share: float) -> float:
    return ascending[max(math.ceil(share * len(ascending)) - 1, 0)]
