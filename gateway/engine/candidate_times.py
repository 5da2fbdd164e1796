"""How long ranking takes for so many candidates, learned from the calls themselves."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sized
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Where the number of candidates never varied half the time is taken to grow with them: nothing measured says more.
_GROWING_PART = 0.5
# Numbers of candidates closer than this part of the largest tell nothing about the slope.
_LEAST_DISTANCE = 0.1
_RENEWED_AFTER = 64
_RENEWED_SECONDS = 0.5


class _Call(NamedTuple):
    """A call: when it ended, for how many candidates, how long it took, and whether there was an answer."""

    at: float
    candidate_count: int
    seconds: float
    answered: bool


class _Fit(NamedTuple):
    """``seconds = base + slope * candidates``, and the measured times over the fitted ones, ascending."""

    base: float
    slope: float
    ratios: list[float]

    def seconds(self, candidate_count: int, share: float) -> float:
        ratio = self.ratios[max(math.ceil(share * len(self.ratios)) - 1, 0)]
        return (self.base + self.slope * candidate_count) * ratio


class CandidateTimes:
    """The time of a ranking call as a line over its number of candidates.

    The slope is the median of the slopes between all pairs of calls (Theil 1950, Sen 1968: "Estimates of the regression
    coefficient based on Kendall's tau", JASA 63), which a third of wild times does not move; it is kept between 0 and
    what leaves nothing fixed. The scatter is a factor: the quantile of measured over fitted times.

    Args:
        size: At most so many calls count, the newest; 64 by default.
        seconds: Older ones than this do not count; 10 by default.
        fresh_seconds: Where enough calls are younger than this the older ones do not count either, so that what was
            slow and is fast again is soon taken for fast; 1.5 by default.
        late_seconds: Calls that were given up count only for so long; 1 by default. They tell that so many candidates
            take longer than anybody has time, and should not tell it any more once they do not.
        least_count: With fewer nothing is known; 20 by default.
        clock: Seconds that only grow; for tests.
    """

    def __init__(
        self,
        *,
        size: int = 64,
        seconds: float = 10.0,
        fresh_seconds: float = 1.5,
        late_seconds: float = 1.0,
        least_count: int = 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ring = [_Call(-math.inf, 0, 0.0, answered=True)] * size
        self._size = size
        self._seconds = seconds
        self._late_seconds = late_seconds
        self._fresh_seconds = fresh_seconds
        self._least_count = least_count
        self._clock = clock
        self._turns = itertools.count()
        self._unfitted_count = 0
        self._fit: _Fit | None = None
        self._fitted_at = -math.inf

    def record(self, candidate_count: int, seconds: float, *, answered: bool = True) -> None:
        """Takes note of a call.

        Args:
            candidate_count: Of the call.
            seconds: How long it took, or how long it was waited for.
            answered: False where it was given up.
        """
        call = _Call(self._clock(), max(candidate_count, 1), seconds, answered)
        self._ring[next(self._turns) % self._size] = call
        self._unfitted_count += 1

    def seconds(self, candidate_count: int, share: float = 0.95) -> float:
        """How long a call takes, in seconds, with transport.

        Args:
            candidate_count: Of the call.
            share: Of such calls that take no longer; 0.95 by default.

        Returns:
            0 while nothing is known.
        """
        fit = self._fitted()
        return 0.0 if fit is None else fit.seconds(candidate_count, share)

    def most_candidates(self, seconds: float, share: float = 0.95) -> int | None:
        """How many candidates a call can take without taking longer than this.

        Args:
            seconds: What the call may take.
            share: Of such calls that take no longer; 0.95 by default.

        Returns:
            0 when not even one fits; None while nothing is known, or when their number makes no difference and any
            would do.
        """
        fit = self._fitted()
        if fit is None:
            return None
        fixed, one = fit.seconds(0, share), fit.seconds(1, share)
        if fixed > seconds:
            return 0
        return int((seconds - fixed) / (one - fixed)) if one > fixed else None

    def _suffice(self, calls: Sized) -> bool:
        return len(calls) >= self._least_count

    def _fitted(self) -> _Fit | None:
        now = self._clock()
        enough = _RENEWED_AFTER if self._fit is not None else self._least_count
        if self._unfitted_count >= enough or now - self._fitted_at > _RENEWED_SECONDS:
            self._unfitted_count = 0
            self._fitted_at = now
            # One copy, which the interpreter makes without letting another thread in between.
            ages = [(now - call.at, call) for call in self._ring[:]]
            known = [
                (age, call) for age, call in ages if age <= (self._seconds if call.answered else self._late_seconds)
            ]
            fresh = [(age, call) for age, call in known if age <= self._fresh_seconds]
            used = [(call.candidate_count, call.seconds) for _, call in (fresh if self._suffice(fresh) else known)]
            self._fit = _fit(used) if self._suffice(used) else None
        return self._fit


@lru_cache(maxsize=256)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(count, k=1)


def _fit(known: list[tuple[int, float]]) -> _Fit:
    counts, seconds = np.array(known, np.float64).T
    first, second = _pairs(len(counts))
    distances = counts[second] - counts[first]
    apart = np.abs(distances) >= _LEAST_DISTANCE * counts.max()
    usual_count, usual_seconds = float(np.median(counts)), float(np.median(seconds))
    # So few pairs would leave the slope to chance.
    if apart.sum() >= len(counts):
        slope = float(np.median((seconds[second] - seconds[first])[apart] / distances[apart]))
    else:
        slope = _GROWING_PART * usual_seconds / usual_count
    slope = min(max(slope, 0.0), usual_seconds / usual_count)
    base = max(float(np.median(seconds - slope * counts)), 0.0)
    fitted = base + slope * counts
    ratios = seconds / np.maximum(fitted, 1e-9)
    return _Fit(base, slope, np.sort(ratios).tolist())
