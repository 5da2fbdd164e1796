from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from training.experiments.off_policy import (
    OffPolicyEstimate,
    Shown,
    cross_fitted_means,
    doubly_robust,
    ips,
    snips,
)

GROUP_COUNT, ITEM_COUNT = 4, 6


@dataclass
class World:
    """Known truth: groups of people, items, how either policy chooses and how likely a click is."""

    logging: NDArray[np.float64]
    policy: NDArray[np.float64]
    clicks: NDArray[np.float64]

    @classmethod
    def make(cls, rng: np.random.Generator) -> World:
        return cls(
            rng.dirichlet(np.full(ITEM_COUNT, 2.0), GROUP_COUNT) * 0.9 + 0.1 / ITEM_COUNT,
            rng.dirichlet(np.full(ITEM_COUNT, 0.7), GROUP_COUNT),
            rng.uniform(0.02, 0.5, (GROUP_COUNT, ITEM_COUNT)),
        )

    @property
    def truth(self) -> float:
        return float((self.policy * self.clicks).sum(axis=1).mean())

    def log(self, rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], ...]:
        groups = rng.integers(GROUP_COUNT, size=count)
        draws = rng.random(count)[:, None]
        items = (draws > np.cumsum(self.logging, axis=1)[groups]).sum(axis=1).clip(max=ITEM_COUNT - 1)
        return groups, items, (rng.random(count) < self.clicks[groups, items]).astype(np.int64)


def estimates(
    world: World, log: tuple[NDArray[np.int64], ...], *, propensities: NDArray[np.float64], model: NDArray[np.float64]
) -> list[OffPolicyEstimate]:
    groups, items, clicks = log
    shown = Shown(clicks.astype(np.float64), (world.policy / propensities)[groups, items])
    guess = (world.policy * model).sum(axis=1)[groups]
    return [ips(shown), snips(shown), doubly_robust(shown, model[groups, items], guess)]


def simulated(
    *, wrong_propensities: bool = False, wrong_model: bool = False
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The truth, and the estimates and standard errors of 400 logs, float64[400, 3]."""
    rng = np.random.default_rng(7)
    world = World.make(rng)
    propensities = np.full_like(world.logging, 1 / ITEM_COUNT) if wrong_propensities else world.logging
    model = np.full_like(world.clicks, 0.9) if wrong_model else world.clicks
    results = [estimates(world, world.log(rng, 1500), propensities=propensities, model=model) for _ in range(400)]
    values = np.array([[each.value for each in result] for result in results])
    errors = np.array([[each.standard_error for each in result] for result in results])
    return world.truth, values, errors


def test_all_are_right_on_average_and_their_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth, values, errors = simulated()
    of_the_mean = values.std(axis=0) / math.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - truth) < 4 * of_the_mean + 1e-3).all()
    assert errors.mean(axis=0) == pytest.approx(values.std(axis=0), rel=0.12)
    covered = (np.abs(values - truth) < 1.96 * errors).mean(axis=0)
    assert covered == pytest.approx(0.95, abs=0.035)
    # A model that knows leaves less to chance.
    assert errors[:, 2].mean() < errors[:, 1].mean() < errors[:, 0].mean()


def test_doubly_robust_is_right_with_a_wrong_model() -> None:
    truth, values, _ = simulated(wrong_model=True)
    assert values[:, 2].mean() == pytest.approx(truth, abs=4 * values[:, 2].std() / 20)


def test_doubly_robust_is_right_with_wrong_propensities_and_the_others_are_not() -> None:
    truth, values, _ = simulated(wrong_propensities=True)
    error = np.abs(values.mean(axis=0) - truth) / (values.std(axis=0) / 20)
    assert error[2] < 4
    assert error[0] > 8
    assert error[1] > 8


def test_with_both_wrong_nothing_is_right() -> None:
    truth, values, _ = simulated(wrong_propensities=True, wrong_model=True)
    assert (np.abs(values.mean(axis=0) - truth) / (values.std(axis=0) / 20) > 8).all()


def test_the_effective_sample_size_is_the_number_where_the_policies_are_the_same() -> None:
    same = ips(Shown(np.array([1.0, 0, 0, 1]), np.ones(4)))
    assert (same.value, same.effective_count, same.observation_count) == (0.5, 4, 4)
    assert same.standard_error == pytest.approx(math.sqrt(1 / 3 / 4))
    lopsided = ips(Shown(np.array([1.0, 0, 0, 1]), np.array([8.0, 0, 0, 0])))
    assert lopsided.effective_count == 1


def test_clipped_weights_are_counted_and_bound_the_estimate() -> None:
    shown = Shown(np.ones(4), np.array([100.0, 2, 1, 0]))
    clipped = ips(shown, clip=10)
    assert (clipped.value, clipped.clipped_count) == ((10 + 2 + 1) / 4, 1)
    assert snips(shown, clip=10).value == 1
    assert doubly_robust(shown, np.full(4, 0.5), np.full(4, 0.5), clip=10).value == 0.5 + 13 / 4 * 0.5


def test_clusters_widen_what_their_likeness_makes_uncertain() -> None:
    rewards = np.repeat([0.0, 1, 0, 1, 1, 0], 5)
    alone = ips(Shown(rewards, np.ones(30))).standard_error
    together = ips(Shown(rewards, np.ones(30), np.repeat(np.arange(6), 5))).standard_error
    assert together == pytest.approx(alone * math.sqrt(5) * math.sqrt(6 / 5 * 29 / 30))


def test_guesses_are_made_without_the_fold_that_they_are_for() -> None:
    rewards = np.array([1.0, 0, 0, 1])
    means = cross_fitted_means(rewards, np.array([0, 1, 0, 1]), 3, fold_of=np.array([0, 0, 1, 1]), prior_count=2)
    # Fold 0 sees 0 and 1 of fold 1, whose mean is a half; fold 1 sees 1 and 0.
    assert means.tolist() == [
        [(0 + 2 * 0.5) / 3, (1 + 2 * 0.5) / 3, 0.5],
        [(1 + 2 * 0.5) / 3, (0 + 2 * 0.5) / 3, 0.5],
    ]


@pytest.mark.parametrize(
    ("rewards", "weights", "clusters"),
    [
        ([], [], None),
        ([1.0], [1.0, 2.0], None),
        ([1.0], [-1.0], None),
        ([math.nan], [1.0], None),
        ([1.0], [1.0], [1, 2]),
    ],
)
def test_logs_that_cannot_be_are_refused(
    rewards: list[float], weights: list[float], clusters: list[int] | None
) -> None:
    with pytest.raises(ValueError, match="expected"):
        Shown(np.array(rewards), np.array(weights), None if clusters is None else np.array(clusters))


def test_a_policy_none_of_whose_items_was_shown_has_no_self_normalised_estimate() -> None:
    with pytest.raises(ValueError, match="nothing that the policy would show was shown"):
        snips(Shown(np.ones(3), np.zeros(3)))
