"""Experiments compared arm by arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.experiments.ratio import (
    ArmSums,
    RateEstimate,
    arm_sums,
    estimate_difference,
    estimate_rate,
    estimate_share,
)
from training.experiments.sample import Sample
from twostage.experiments.experiment import INTERLEAVED


@dataclass(frozen=True)
class ArmResult:
    """What one arm's people did.

    Args:
        arm: Its name.
        people_count: Of how many people there are answers.
        answer_count: How many answers there are.
        action_count: With how many shown items the action was done.
        rate: Actions per answer.
        difference: The rate minus the control's; None for the control.
    """

    arm: str
    people_count: int
    answer_count: int
    action_count: int
    rate: RateEstimate
    difference: RateEstimate | None


@dataclass(frozen=True)
class WinResult:
    """Which of two interleaved rankings people took to.

    Args:
        arm: The second arm, whose share of the wins is told.
        rival: The first arm.
        answer_count: How many answers were interleaved.
        win_count: Answers in which more was done with the arm's items.
        loss_count: Answers in which more was done with the rival's.
        tie_count: Answers in which as much was done with both, and something was.
        share: (wins + ties / 2) / (wins + losses + ties); 0.5 says that they are as good.
    """

    arm: str
    rival: str
    answer_count: int
    win_count: int
    loss_count: int
    tie_count: int
    share: RateEstimate


def arm_names(sample: Sample, experiment: str) -> list[str]:
    """The arms of an experiment that there are answers of, ``control`` first and the others by name."""
    names = sorted(set(sample.arms[experiment].tolist()) - {""})
    return sorted(names, key=lambda name: name != "control")


def compare_arms(sample: Sample, experiment: str, action: str, arms: Sequence[str]) -> list[ArmResult]:
    """Compares arms by how often an action was done.

    Args:
        sample: The log.
        experiment: One of its experiments.
        action: What was done.
        arms: The arms, the control first.
    """
    values = sample.counts(action)
    sums = {arm: _sums(sample, values, sample.arms[experiment] == arm) for arm in arms}
    control = sums[arms[0]]
    return [
        ArmResult(
            arm,
            each.people_count,
            int(each.answer_count),
            int(each.actions.sum()),
            estimate_rate(each),
            None if arm == arms[0] else estimate_difference(each, control),
        )
        for arm, each in sums.items()
    ]


def compare_rivals(sample: Sample, experiment: str, action: str) -> WinResult:
    """Compares two interleaved rankings (Chapelle, Joachims, Radlinski and Yue, TOIS 30(1), 2012, section 3.2).

    An answer is won by the ranking with whose items more was done; answers with which nothing was done say nothing.

    Args:
        sample: The log.
        experiment: One of its interleaved experiments.
        action: What was done.
    """
    rival, arm = sample.rivals[experiment]
    hits, count = sample.hits, len(sample.people)
    done = hits.actions == action
    mine = np.bincount(hits.answers[done & (hits.teams == arm)], minlength=count)
    theirs = np.bincount(hits.answers[done & (hits.teams == rival)], minlength=count)
    shown = sample.arms[experiment] == INTERLEAVED
    told = shown & (mine + theirs > 0)
    credit = np.where(mine > theirs, 1.0, np.where(mine == theirs, 0.5, 0.0))
    return WinResult(
        arm,
        rival,
        int(shown.sum()),
        int((told & (credit == 1.0)).sum()),
        int((told & (credit == 0.0)).sum()),
        int((told & (credit == 0.5)).sum()),
        estimate_share(_sums(sample, credit, told)),
    )


def people_in_several_arms(sample: Sample, experiment: str) -> int:
    """How many people have been in more than one arm: weights or salts were changed, or requests are assigned."""
    arms = sample.arms[experiment]
    names = np.unique(arms[arms != ""])
    seen = np.zeros(sample.people_count, np.int64)
    for name in names:
        seen += np.bincount(sample.people[arms == name], minlength=sample.people_count) > 0
    return int((seen > 1).sum())


def unit_counts(sample: Sample, experiment: str, unit: str) -> dict[str, int]:
    """How many people (``user_id``) or answers (``request``) each arm has."""
    arms = sample.arms[experiment]
    return {
        name: int(len(np.unique(sample.people[arms == name])) if unit == "user_id" else (arms == name).sum())
        for name in arm_names(sample, experiment)
    }


def _sums(sample: Sample, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> ArmSums:
    return arm_sums(sample.people, values, chosen, sample.people_count)
