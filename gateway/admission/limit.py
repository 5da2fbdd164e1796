"""How many requests are worked on at once: a limit that follows measured latency.

A server that is given more requests at once than it can work on answers no more of them in a second, it answers each of
them later. So the limit compares the latency under the present load with the latency of a quiet server and shrinks
while the first is well above the second::

    gradient  = tolerance * quiet latency / latency of this window, bounded to 0.5 .. 1
    new limit = limit + smoothing * (gradient * limit + sqrt(limit) - limit)

The update is that of Gradient2 in Netflix's concurrency-limits
(https://github.com/Netflix/concurrency-limits, ``Gradient2Limit``): tolerance, smoothing, square root as the room for
growth, no growth while less than half of the limit is in use. What it is compared with is that of Envoy's adaptive
concurrency filter (https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter):
the latency measured while few requests are in flight. Gradient2 takes a long moving average instead, which under an
overload that lasts becomes the overloaded latency itself, and the limit creeps up to its bound.

AIMD on a latency target was left aside: a target that suits one catalogue, ranker and machine suits no other.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_LEAST_GRADIENT = 0.5
# Of the quiet latency: how far one new measurement moves it.
_BASELINE_SHARE = 0.5
# Whole answers of one kind that a window must hold to say something of the quiet latency.
_BASELINE_COUNT = 5
# How long a quiet spell that measured nothing is not tried again.
_FRUITLESS_SECONDS = 2.0
_LEAST_SECONDS = 1e-6


class Limit(Protocol):
    """How many may be worked on at once, learnt from those that were; not safe for threads by itself."""

    @property
    def value(self) -> int:
        """How many may be worked on at once, at least 1."""

    @property
    def service_seconds(self) -> float:
        """How long one request is worked on at present; 0 while unknown."""

    def note(self, kind: str, seconds: float, in_flight: int, *, whole: bool) -> None:
        """Takes a finished request's figures.

        Args:
            kind: What was asked; each kind is compared with itself.
            seconds: How long it was worked on, waiting for a place excluded.
            in_flight: How many were worked on when it began, itself included.
            whole: False where less than the whole work was done, as on a low rung.
        """


class FixedLimit:
    """A limit that stays.

    Args:
        value: The limit.
    """

    def __init__(self, value: int) -> None:
        self.value = value
        self.service_seconds = 0.0

    def note(self, kind: str, seconds: float, in_flight: int, *, whole: bool) -> None:
        """Follows how long a request takes; see `Limit.note`."""
        del kind, in_flight, whole
        self.service_seconds += (seconds - self.service_seconds) * (0.05 if self.service_seconds else 1.0)


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """How a limit moves.

    Args:
        least: It never falls below this; the quiet latency is measured with as many in flight.
        most: It never rises above this.
        start: Where it starts, and where it returns to while less than half of it is in use.
        tolerance: How many times the quiet latency is no overload yet.
        smoothing: The part of the way to the new limit that one window goes.
        hurry: The part that it goes instead when the gradient is at its least, 0.5: that is no jitter any more, and
            each request that is let in too many is late.
        window_count: Requests that a window holds at least.
        window_seconds: How long it lasts at least.
        quiet_seconds: How long after the last measurement of the quiet latency a busy server makes itself quiet to
            measure again, plus or minus a quarter, so that many servers do not do it at once.
    """

    least: int = 4
    most: int = 64
    start: int = 16
    tolerance: float = 1.5
    smoothing: float = 0.2
    hurry: float = 0.4
    window_count: int = 20
    window_seconds: float = 0.1
    quiet_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuses bounds out of order.

        Raises:
            ValueError: Not 1 <= least <= start <= most.
        """
        if not 1 <= self.least <= self.start <= self.most:
            raise ValueError(
                f"limit: expected 1 <= least <= start <= most, received {self.least}, {self.start}, {self.most}"
            )


class _Sums:
    """Of the requests of one kind in one window: how many, and the sum of their seconds' logarithms."""

    __slots__ = ("count", "logs", "whole_count", "whole_logs")

    def __init__(self) -> None:
        self.count = self.whole_count = 0
        self.logs = self.whole_logs = 0.0


class GradientLimit:
    """A limit that follows latency; see the module.

    A window's latency is the geometric mean, which a few stragglers hardly move. It is compared kind by kind, so that
    another mixture of requests is no overload. While as few are in flight as `LimitPolicy.least`, windows measure the
    quiet latency for nothing; a server that is always busy lowers its limit to that for one window now and then.

    Args:
        policy: How it moves.
        clock: Seconds that only grow.
        draw: Gives numbers from 0 to below 1, for the times of measuring.
    """

    def __init__(
        self,
        policy: LimitPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy if policy is not None else LimitPolicy()
        self.value = self.policy.start
        self.service_seconds = 0.0
        self.quiet = False
        self._limit = float(self.policy.start)
        self._clock = clock
        self._draw = draw
        self._baselines: dict[str, float] = {}
        self._measure_at = -math.inf
        self._started = 0.0
        self._count = 0
        self._peak = 0
        self._seconds = 0.0
        self._sums: dict[str, _Sums] = {}

    def quiet_seconds(self, kind: str) -> float | None:
        """The latency of a kind on a quiet server; None while unknown."""
        logarithm = self._baselines.get(kind)
        return None if logarithm is None else math.exp(logarithm)

    def note(self, kind: str, seconds: float, in_flight: int, *, whole: bool) -> None:
        """Takes a finished request's figures; see `Limit.note`."""
        policy = self.policy
        if self.quiet and in_flight > policy.least:
            return  # it began before the quiet did
        if not self._count:
            self._started = self._clock()
        self._count += 1
        self._seconds += seconds
        self._peak = max(self._peak, in_flight)
        sums = self._sums.get(kind)
        if sums is None:
            sums = self._sums[kind] = _Sums()
        logarithm = math.log(max(_LEAST_SECONDS, seconds))
        sums.count += 1
        sums.logs += logarithm
        if whole:
            sums.whole_count += 1
            sums.whole_logs += logarithm
        if self._count >= policy.window_count:
            now = self._clock()
            if now - self._started >= policy.window_seconds:
                self._close(now)

    def _begin(self) -> None:
        self._count = 0
        self._peak = 0
        self._seconds = 0.0
        self._sums = {}

    def _close(self, now: float) -> None:
        policy = self.policy
        mean = self._seconds / self._count
        self.service_seconds += (mean - self.service_seconds) * (0.5 if self.service_seconds else 1.0)
        if self.quiet or self._peak <= policy.least:
            self._measure(now)
        slowness = self._slowness()
        busy = self._peak * 2 >= self._limit
        if self.quiet:
            self.quiet = False
        elif slowness is not None:
            self._move(slowness, busy=busy)
        if busy and self._peak > policy.least and now >= self._measure_at:
            self.quiet = True
        self.value = policy.least if self.quiet else int(self._limit)
        self._begin()

    def _measure(self, now: float) -> None:
        """Learns the quiet latency from this window."""
        found = False
        for kind, sums in self._sums.items():
            if sums.whole_count >= _BASELINE_COUNT:
                measured = sums.whole_logs / sums.whole_count
                known = self._baselines.get(kind, measured)
                self._baselines[kind] = known + _BASELINE_SHARE * (measured - known)
                found = True
        wait = self.policy.quiet_seconds * (0.75 + 0.5 * self._draw()) if found else _FRUITLESS_SECONDS
        self._measure_at = now + wait

    def _slowness(self) -> float | None:
        """How many times the quiet latency this window's is; None where nothing is known of its kinds."""
        count = 0
        logs = 0.0
        for kind, sums in self._sums.items():
            baseline = self._baselines.get(kind)
            if baseline is None:
                continue
            if sums.whole_count >= _BASELINE_COUNT:
                # Under load nothing is faster than without: what was measured is not true any more.
                measured = sums.whole_logs / sums.whole_count
                if measured < baseline - math.log(self.policy.tolerance):
                    baseline = self._baselines[kind] = measured
            count += sums.count
            logs += sums.logs - sums.count * baseline
        return math.exp(logs / count) if count else None

    def _move(self, slowness: float, *, busy: bool) -> None:
        policy = self.policy
        gradient = max(_LEAST_GRADIENT, min(1.0, policy.tolerance / slowness))
        limit = self._limit
        if busy:
            part = policy.hurry if gradient <= _LEAST_GRADIENT else policy.smoothing
            limit += part * (gradient * limit + math.sqrt(limit) - limit)
            self._limit = max(float(policy.least), min(float(policy.most), limit))
        elif gradient == 1.0 and limit < policy.start:
            # Nothing to limit: what an overload long ago left behind should not refuse the next burst.
            self._limit = min(float(policy.start), limit + math.sqrt(limit))
