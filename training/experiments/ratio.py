"""Rates whose numerator and denominator are both counted in people's answers, and differences of such rates.

People give several answers each, and those of one person are alike, so that the person is the unit whose variance
counts. With y and x for a person's sums and R = Σy / Σx the delta method (Deng, Knoblich and Lu, Applying the delta
method in metric analytics, KDD 2018, section 2.2) gives the influence of a person and the variance of R:

    psi = (y - R x) / Σx        var R = Σ psi² · U / (U - 1)

A difference of two arms has the influence psi(arm) - psi(control); a person who was in both arms, as is usual where
requests are assigned, counts with both at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.experiments.intervals import TARGET_COUNT, Interval, Method, fixed_interval, sequential_interval

MIN_PEOPLE_COUNT = 30
"""With fewer people in an arm a standard error is a guess: no interval is given."""
MIN_ACTION_COUNT = 10
"""With fewer actions in both arms together a sum is far from normal: no interval is given."""


@dataclass(frozen=True)
class ArmSums:
    """What one arm's people did; parallel arrays over all people of the experiment, zeros for those of other arms.

    Args:
        actions: float64[U], the sum of y over a person's answers.
        answers: float64[U], the sum of x: the number of a person's answers.
        square_sum: The sum of y² over the arm's answers.
    """

    actions: NDArray[np.float64]
    answers: NDArray[np.float64]
    square_sum: float

    @property
    def people_count(self) -> int:
        """Of how many people there are answers."""
        return int(np.count_nonzero(self.answers))

    @property
    def answer_count(self) -> float:
        """How many answers there are."""
        return float(self.answers.sum())

    @property
    def rate(self) -> float:
        """Actions per answer; NaN without answers."""
        total = self.answer_count
        return float(self.actions.sum()) / total if total else math.nan

    def influence(self) -> NDArray[np.float64]:
        """float64[U], psi of each person."""
        psi: NDArray[np.float64] = (self.actions - self.rate * self.answers) / self.answer_count
        return psi * math.sqrt(self.people_count / max(self.people_count - 1, 1))

    def answer_variance(self) -> float:
        """The variance of the rate if all answers were independent."""
        total = self.answer_count
        return max(self.square_sum / total - self.rate**2, 0.0) / total


@dataclass(frozen=True)
class RateEstimate:
    """A rate, or a difference of rates.

    Args:
        value: The estimate.
        standard_error: Clustered by person; NaN where it cannot be told.
        observation_count: The clock of the sequential interval: answers times design effect.
        enough: Whether there are people and actions enough for an interval.
    """

    value: float
    standard_error: float
    observation_count: float
    enough: bool

    def interval(
        self, method: Method = "sequential", confidence: float = 0.95, target_count: float = TARGET_COUNT
    ) -> Interval | None:
        """The interval, None where there is too little to go by; arguments as of `sequential_interval`."""
        if not self.enough:
            return None
        if method == "fixed-horizon":
            return fixed_interval(self.value, self.standard_error, confidence)
        return sequential_interval(self.value, self.standard_error, self.observation_count, confidence, target_count)


def arm_sums(
    people: NDArray[np.integer], values: NDArray[np.floating], chosen: NDArray[np.bool_], people_count: int
) -> ArmSums:
    """Sums up one arm.

    Args:
        people: Integer[A], whose answer each is, 0..people_count - 1.
        values: float[A], y of each answer.
        chosen: bool[A], which answers are the arm's.
        people_count: U.
    """
    whose, what = people[chosen], values[chosen].astype(np.float64)
    return ArmSums(
        np.bincount(whose, what, minlength=people_count).astype(np.float64),
        np.bincount(whose, minlength=people_count).astype(np.float64),
        float(np.square(what).sum()),
    )


def estimate_rate(arm: ArmSums) -> RateEstimate:
    """The rate of one arm."""
    if not arm.answer_count:
        return RateEstimate(math.nan, math.nan, 0.0, False)
    return _estimate(
        arm.rate, arm.influence(), arm.answer_variance(), arm.answer_count, [arm], arm.actions.sum() >= MIN_ACTION_COUNT
    )


def estimate_share(arm: ArmSums) -> RateEstimate:
    """A rate between 0 and 1 of which 0 says as much as 1: there is enough to go by where there are answers enough.

    The standard error counts two more people, one on each side (in the manner of Agresti and Coull, American
    Statistician 52(2), 1998), so that it is not 0 where all agree.
    """
    if not arm.answer_count:
        return RateEstimate(math.nan, math.nan, 0.0, False)
    padded = ArmSums(np.append(arm.actions, [0.0, 1.0]), np.append(arm.answers, [1.0, 1.0]), arm.square_sum + 1.0)
    enough = arm.answer_count >= MIN_ACTION_COUNT and arm.people_count >= MIN_PEOPLE_COUNT
    return _estimate(arm.rate, padded.influence(), padded.answer_variance(), arm.answer_count, [padded], enough)


def estimate_difference(arm: ArmSums, control: ArmSums) -> RateEstimate:
    """The rate of an arm minus that of the control."""
    if not arm.answer_count or not control.answer_count:
        return RateEstimate(math.nan, math.nan, 0.0, False)
    return _estimate(
        arm.rate - control.rate,
        arm.influence() - control.influence(),
        arm.answer_variance() + control.answer_variance(),
        arm.answer_count + control.answer_count,
        [arm, control],
        arm.actions.sum() + control.actions.sum() >= MIN_ACTION_COUNT,
    )


def _estimate(
    value: float,
    influence: NDArray[np.float64],
    answer_variance: float,
    answer_count: float,
    arms: list[ArmSums],
    told_enough: bool,
) -> RateEstimate:
    variance = float(np.square(influence).sum())
    enough = (
        answer_variance > 0
        and variance > 0
        and bool(told_enough)
        and all(arm.people_count >= MIN_PEOPLE_COUNT for arm in arms)
    )
    design_effect = variance / answer_variance if answer_variance else 1.0
    return RateEstimate(value, math.sqrt(variance), answer_count * design_effect, enough)
