from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from training.experiments.ratio import ArmSums, arm_sums, estimate_difference, estimate_rate, estimate_share


def simulate(
    rng: np.random.Generator, people_count: int, rate: float, mean_answers: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """People who differ in how often they come and in how much they like to click, which go together."""
    visits = 1 + rng.poisson(mean_answers - 1, people_count)
    liking = rng.beta(2, 2 / rate - 2, people_count)
    people = np.repeat(np.arange(people_count), visits)
    return people, (rng.random(len(people)) < liking[people]).astype(np.float64)


def test_rates_count_actions_per_answer() -> None:
    people = np.array([0, 0, 1, 2, 2])
    sums = arm_sums(people, np.array([1.0, 0, 2, 0, 5]), np.array([True, True, True, True, False]), 3)
    assert sums.actions.tolist() == [1, 2, 0]
    assert sums.answers.tolist() == [2, 1, 1]
    assert sums.square_sum == 5
    assert (sums.people_count, sums.answer_count, sums.rate) == (3, 4, 0.75)


def test_the_standard_error_is_that_of_the_jackknife_over_people() -> None:
    rng = np.random.default_rng(1)
    people, clicks = simulate(rng, 400, 0.2, 5)
    sums = arm_sums(people, clicks, np.ones(len(people), np.bool_), 400)
    without = [
        (sums.actions.sum() - y) / (sums.answers.sum() - x) for y, x in zip(sums.actions, sums.answers, strict=True)
    ]
    jackknife = math.sqrt(399 / 400 * np.square(np.array(without) - np.mean(without)).sum())
    assert estimate_rate(sums).standard_error == pytest.approx(jackknife, rel=0.02)
    # Answers of one person are alike, so the naive error is too small.
    assert jackknife > 1.2 * math.sqrt(sums.rate * (1 - sums.rate) / len(people))


def test_the_clock_counts_answers_times_the_design_effect() -> None:
    people = np.repeat(np.arange(100), 10)
    alike = np.repeat(np.arange(100) % 2, 10).astype(np.float64)
    sums = arm_sums(people, alike, np.ones(1000, np.bool_), 100)
    # All ten answers of a person say the same: each is worth ten times the variance.
    assert estimate_rate(sums).observation_count == pytest.approx(10_000, rel=0.02)


def test_a_person_in_both_arms_counts_with_both_at_once() -> None:
    rng = np.random.default_rng(2)
    liking = rng.random(500)
    people = np.repeat(np.arange(500), 20)
    second = rng.random(len(people)) < 0.5
    clicks = (rng.random(len(people)) < liking[people]).astype(np.float64)
    arm, control = (arm_sums(people, clicks, chosen, 500) for chosen in (second, ~second))
    together = estimate_difference(arm, control).standard_error
    apart = math.hypot(estimate_rate(arm).standard_error, estimate_rate(control).standard_error)
    # Liking cancels out within a person; what is left is what 10,000 independent answers would have.
    assert together < 0.7 * apart
    assert together == pytest.approx(2 * math.sqrt(0.25 / len(people)), rel=0.05)


def test_the_fixed_interval_of_a_difference_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(600):
        arms = []
        for rate in (0.12, 0.1):
            people, clicks = simulate(rng, 300, rate, 4)
            sums = arm_sums(people, clicks, np.ones(len(people), np.bool_), 300)
            arms.append(sums)
        # Everybody is in one arm: the people of the two arms are others.
        nobody = np.zeros(300)
        first, second = arms
        arm = ArmSums(np.append(first.actions, nobody), np.append(first.answers, nobody), first.square_sum)
        control = ArmSums(np.append(nobody, second.actions), np.append(nobody, second.answers), second.square_sum)
        interval = estimate_difference(arm, control).interval("fixed-horizon")
        assert interval is not None
        covered += 0.02 in interval
    assert covered / 600 == pytest.approx(0.95, abs=0.025)


def test_the_sequential_interval_of_people_who_return_holds_at_all_looks() -> None:
    """400 people come back again and again, half of them in each arm; 40 looks at no difference, 400 times over."""
    rng = np.random.default_rng(4)
    people_count, answer_count, looks = 400, 8_000, np.linspace(400, 8_000, 40).astype(int)
    missed = {"sequential": 0, "fixed-horizon": 0}
    for _ in range(400):
        liking = rng.beta(1, 7, people_count)
        people = rng.integers(people_count, size=answer_count)
        clicks = (rng.random(answer_count) < liking[people]).astype(np.float64)
        # The arms' own chance is part of the experiment: there is no difference between all people there could be.
        in_arm = (np.arange(people_count) % 2 == 0)[people]
        outside = {"sequential": False, "fixed-horizon": False}
        for look in looks:
            sums = [arm_sums(people[:look], clicks[:look], each[:look], people_count) for each in (in_arm, ~in_arm)]
            estimate = estimate_difference(*sums)
            for method in ("sequential", "fixed-horizon"):
                interval = estimate.interval(method, target_count=4_000)
                outside[method] |= interval is not None and 0.0 not in interval
        for method, left in outside.items():
            missed[method] += left
    assert missed["sequential"] / 400 <= 0.05
    assert missed["fixed-horizon"] / 400 > 0.08


@pytest.mark.parametrize("people_count", [29, 30])
def test_too_few_people_get_no_interval(people_count: int) -> None:
    people = np.arange(people_count)
    sums = arm_sums(people, (people % 2).astype(np.float64), np.ones(people_count, np.bool_), people_count)
    estimate = estimate_rate(sums)
    assert estimate.value == pytest.approx(0.5, abs=0.02)
    assert (estimate.interval() is not None) is (people_count == 30)


def test_too_few_actions_get_no_interval_and_shares_count_their_answers() -> None:
    people = np.arange(1000)
    sums = arm_sums(people, (people < 9).astype(np.float64), np.ones(1000, np.bool_), 1000)
    assert estimate_rate(sums).interval() is None
    assert estimate_share(sums).interval() is not None


def test_a_share_that_all_agree_on_has_an_interval_all_the_same() -> None:
    people = np.arange(300)
    estimate = estimate_share(arm_sums(people, np.ones(300), np.ones(300, np.bool_), 300))
    interval = estimate.interval("fixed-horizon")
    assert estimate.value == 1
    assert interval is not None
    # 301 of 302 people: the standard error of their share.
    assert interval.low == pytest.approx(1 - 1.96 * math.sqrt(301 / 302 * 1 / 302 / 301), abs=1e-4)


def test_nothing_is_estimated_from_nothing() -> None:
    nothing = arm_sums(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_), 0)
    for estimate in (estimate_rate(nothing), estimate_difference(nothing, nothing), estimate_share(nothing)):
        assert math.isnan(estimate.value)
        assert estimate.interval() is None
