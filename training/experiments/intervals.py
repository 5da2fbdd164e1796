"""Intervals around an estimate: for one look at the end, and for as many looks as one likes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Method = Literal["sequential", "fixed-horizon"]

METHODS: dict[Method, str] = {
    "sequential": "sequentially valid: may be looked at at any time, and stopped at any look",
    "fixed-horizon": "fixed horizon: holds for one look, at a time that was chosen before the start",
}
"""What each kind of interval promises, in words."""

TARGET_COUNT = 10_000
"""Around so many answers a sequential interval is at its tightest."""


@dataclass(frozen=True)
class Interval:
    """An interval and what it promises.

    Args:
        low: Its lower end.
        high: Its upper end.
        method: What it promises; see METHODS.
        confidence: The probability with which it holds the truth, within (0, 1).
    """

    low: float
    high: float
    method: Method
    confidence: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def fixed_interval(value: float, standard_error: float, confidence: float = 0.95) -> Interval:
    """The usual interval ``value ± z · standard error`` of an estimate that is about normal.

    Args:
        value: The estimate.
        standard_error: Its standard error.
        confidence: Within (0, 1).
    """
    half = NormalDist().inv_cdf((1 + _checked(confidence)) / 2) * standard_error
    return Interval(value - half, value + half, "fixed-horizon", confidence)


def sequential_interval(
    value: float,
    standard_error: float,
    observation_count: float,
    confidence: float = 0.95,
    target_count: float = TARGET_COUNT,
) -> Interval:
    """An interval that holds the truth at all looks together with the stated probability.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit
    theory and asymptotic confidence sequences, Annals of Statistics 52(6), 2024, theorem 2.2; with alpha for
    1 - confidence, n for the observations and r = n · rho² it is

        value ± standard error · sqrt((1 + 1 / r) · ln((1 + r) / alpha²))

        rho² = (-2 ln alpha + ln(1 - 2 ln alpha)) / target count       (their appendix B.2)

    It is Robbins' normal mixture (1970) with the standard error estimated. Its clock is the variance of the sum that
    was gathered so far, counted in observations: with independent observations n is their number; observations that
    belong together in clusters count design effect times. Where clusters go on growing, what a cluster brings later
    must not go against what it brought before (Slepian's inequality; people who like to click keep liking it), which
    makes the interval wider than it needs to be and never narrower.

    Args:
        value: The estimate.
        standard_error: Its standard error, clusters accounted for.
        observation_count: n, above 0.
        confidence: Within (0, 1).
        target_count: Where the interval is to be tightest, above 0; fix it before the start, for an interval that is
            tuned to what was seen does not hold.
    """
    alpha = 1 - _checked(confidence)
    if observation_count <= 0 or target_count <= 0:
        raise ValueError(f"expected counts above 0, got {observation_count} and {target_count}")
    tuned = -2 * math.log(alpha)
    ratio = (tuned + math.log1p(tuned)) * observation_count / target_count
    half = standard_error * math.sqrt((1 + 1 / ratio) * (math.log1p(ratio) + tuned))
    return Interval(value - half, value + half, "sequential", confidence)


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    return confidence
