"""A sweep over rates and where its knee is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from twostage.errors import InvalidField
from twostage.load.result import LoadResult
from twostage.load.saturation import KEPT_UP_SHARE

MAX_RATE_COUNT = 100
"""A sweep tries at most so many rates."""
KNEE_SHARE = 99.0
"""The knee is that of the p99."""
LEAST_RISE = 2.0
"""Without a p99 that rises by this factor there is no knee."""
_GRAMMAR = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?):(\+|x|)(\d+(?:\.\d+)?)")
_EXPECTED = "FROM:TO:STEP or FROM:TO:xFACTOR, as 20:200:20 or 10:320:x2"


def read_rates(text: str) -> tuple[float, ...]:
    """The rates of ``20:200:20`` (steps of 20), or of ``10:320:x2`` (each twice the one before).

    Raises:
        InvalidField: It is no such text, goes nowhere, or has more than 100 rates.
    """
    match = _GRAMMAR.fullmatch(text.replace(" ", ""))
    if match is None:
        raise InvalidField("--sweep", _EXPECTED, text)
    first, last, step = float(match[1]), float(match[2]), float(match[4])
    by_factor = match[3] == "x"
    if not (0 < first <= last and step > (1.0 if by_factor else 0.0)):
        raise InvalidField("--sweep", f"{_EXPECTED}, 0 < FROM <= TO and a STEP above 0 or a FACTOR above 1", text)
    count = math.floor((math.log(last / first) / math.log(step) if by_factor else (last - first) / step) + 1e-9) + 1
    if count > MAX_RATE_COUNT:
        raise InvalidField("--sweep", f"at most {MAX_RATE_COUNT} rates", f"{text}, which are {count}")
    return tuple(first * step**each if by_factor else first + step * each for each in range(count))


@dataclass(frozen=True)
class Sweep:
    """What came of each rate, the lowest first.

    Args:
        results: Of each rate; at least one.
    """

    results: Sequence[LoadResult]

    @property
    def rates(self) -> list[float]:
        """The rates that were offered."""
        return [result.rate for result in self.results]

    @property
    def p99s(self) -> list[float]:
        """The p99 of all requests of each rate, in seconds; a request that was not answered counts as the timeout."""
        return [min(result.percentile(KNEE_SHARE), result.timeout_seconds) for result in self.results]

    @property
    def kept_up(self) -> float:
        """The highest rate that was kept up with, and all below it; 0 when not even the lowest was."""
        kept = 0.0
        for result in self.results:
            if result.goodput() < KEPT_UP_SHARE * result.rate:
                break
            kept = result.rate
        return kept

    @property
    def peak(self) -> float:
        """The most requests that were answered in time in a second, at whatever rate."""
        return max(result.goodput() for result in self.results)

    @property
    def knee(self) -> float | None:
        """The rate at which the p99 begins to climb; None when it does not; see `knee_of`."""
        return knee_of(self.rates, self.p99s)


def knee_of(rates: Sequence[float], latencies: Sequence[float]) -> float | None:
    """The knee of a curve of latency over rate.

    Kneedle (Satopaa, Albrecht, Irwin and Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCS workshops 2011): rates
    and latencies are each scaled to 0..1, and the knee is where the curve lies farthest below its diagonal, ``argmax(x
    - y)``. Latencies are first made to never fall (a running maximum), for a lucky high rate makes no lower one slow.

    Args:
        rates: Ascending.
        latencies: Of each, in any unit, finite.

    Returns:
        One of the rates; None where there are fewer than three, or where the highest latency is less than
        `LEAST_RISE` times the lowest: the curve does not bend, its end was not reached.
    """
    if len(rates) < 3 or len(set(rates)) < len(rates):
        return None
    rising = [max(latencies[: position + 1]) for position in range(len(latencies))]
    lowest, highest = rising[0], rising[-1]
    if highest < LEAST_RISE * lowest or highest == lowest:
        return None
    below = [
        (rate - rates[0]) / (rates[-1] - rates[0]) - (latency - lowest) / (highest - lowest)
        for rate, latency in zip(rates, rising, strict=True)
    ]
    return rates[max(range(len(below)), key=lambda position: (below[position], -position))]
