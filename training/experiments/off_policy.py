"""What another policy would have earned, from what one policy showed and with which probability.

For shown things i with reward r, the probability p with which the logging policy showed it and the probability q with
which the policy in question would have, w = q / p:

    IPS     mean of w r                                       Horvitz and Thompson 1952
    SNIPS   Σ w r / Σ w                                       Swaminathan and Joachims, NeurIPS 2015
    DR      mean of  E_q[m] + w (r - m)                       Dudík, Langford and Li, ICML 2011

where m is a model's guess of the reward, of the thing shown and, as E_q[m], of what the policy in question would show.
IPS is right on average when the propensities are, and everything that the policy in question shows had a chance. DR is
right when the propensities are or the model is. Weights that are clipped trade some bias for variance (Ionides 2008);
the effective sample size (Σw)² / Σw² (Kong 1992) says how many observations of its own the policy's estimate is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.experiments.intervals import Interval, fixed_interval

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What a policy is estimated to earn for each thing that it shows.

    Args:
        estimator: ``IPS``, ``SNIPS`` or ``DR``.
        value: The mean reward.
        standard_error: Clustered where clusters were given.
        effective_count: The effective sample size.
        observation_count: How many things were shown.
        clipped_count: How many weights were clipped.
    """

    estimator: str
    value: float
    standard_error: float
    effective_count: float
    observation_count: int
    clipped_count: int

    def interval(self, confidence: float = 0.95) -> Interval:
        """The fixed-horizon interval."""
        return fixed_interval(self.value, self.standard_error, confidence)


@dataclass(frozen=True)
class Shown:
    """What was logged, as parallel arrays over the shown things.

    Args:
        rewards: float[N], e.g. 1 for a click.
        weights: float[N], 0 or more: the policy's probability over the logged one.
        clusters: Integer[N], whose thing each is, where those of one belong together; each alone when None.

    Raises:
        ValueError: There is nothing, the lengths differ, or a value is not finite or a weight below 0.
    """

    rewards: NDArray[np.floating]
    weights: NDArray[np.floating]
    clusters: NDArray[np.integer] | None = None

    def __post_init__(self) -> None:
        if not len(self.rewards) or len(self.rewards) != len(self.weights):
            raise ValueError(f"expected as many weights as rewards, got {len(self.weights)} and {len(self.rewards)}")
        if self.clusters is not None and len(self.clusters) != len(self.rewards):
            raise ValueError(f"clusters: expected {len(self.rewards)}, got {len(self.clusters)}")
        if not np.isfinite(self.rewards).all() or not np.isfinite(self.weights).all() or (self.weights < 0).any():
            raise ValueError("expected finite rewards and finite weights of 0 or more")


def ips(shown: Shown, *, clip: float | None = None) -> OffPolicyEstimate:
    """Inverse propensity scoring; ``clip`` bounds the weights, None for none."""
    weights = _clipped(shown.weights, clip)
    return _mean("IPS", weights * shown.rewards, weights, shown)


def snips(shown: Shown, *, clip: float | None = None) -> OffPolicyEstimate:
    """Self-normalised IPS; ``clip`` bounds the weights, None for none.

    Raises:
        ValueError: All weights are 0: nothing that the policy would show was shown.
    """
    weights = _clipped(shown.weights, clip)
    mean_weight = float(weights.mean())
    if not mean_weight:
        raise ValueError("weights: expected one above 0, got none: nothing that the policy would show was shown")
    value = float(weights @ shown.rewards) / float(weights.sum())
    # The ratio's delta method: the influence of an observation is w (r - value) / mean w.
    influence = weights * (shown.rewards - value) / mean_weight
    estimate = _mean("SNIPS", influence, weights, shown)
    return OffPolicyEstimate("SNIPS", value, *_after_value(estimate))


def doubly_robust(
    shown: Shown,
    predicted_shown: NDArray[np.floating],
    predicted_policy: NDArray[np.floating],
    *,
    clip: float | None = None,
) -> OffPolicyEstimate:
    """The doubly robust estimate.

    Args:
        shown: What was logged.
        predicted_shown: float[N], the model's guess of each shown thing's reward, made without that reward (see
            :func:`cross_fitted_means`).
        predicted_policy: float[N], the mean of its guesses over what the policy would have shown in its stead.
        clip: Bounds the weights, None for none.
    """
    weights = _clipped(shown.weights, clip)
    return _mean("DR", predicted_policy + weights * (shown.rewards - predicted_shown), weights, shown)


def cross_fitted_means(
    rewards: NDArray[np.floating],
    cells: NDArray[np.integer],
    cell_count: int,
    *,
    fold_of: NDArray[np.integer],
    prior_count: float = 100.0,
) -> _Floats:
    """A simple reward model: the mean of each cell, drawn to the mean of all, from the other folds' observations.

    Args:
        rewards: float[N].
        cells: Integer[N], 0..cell_count - 1, what each observation is of, e.g. an item at a position.
        cell_count: How many cells there are.
        fold_of: Integer[N], the fold of each observation from 0; observations of one cluster in the same one.
        prior_count: A cell's mean counts as many observations of the mean of all beside its own.

    Returns:
        float64[F, cell_count], for each fold the guesses made without it.
    """
    fold_count = int(fold_of.max()) + 1
    at = fold_of * cell_count + cells
    sums = np.bincount(at, rewards, minlength=fold_count * cell_count).reshape(fold_count, cell_count)
    counts = np.bincount(at, minlength=fold_count * cell_count).reshape(fold_count, cell_count)
    # A single fold has no others: then there is nothing to go by and the guess is 0.
    other_sums, other_counts = sums.sum(axis=0) - sums, counts.sum(axis=0) - counts
    overall = other_sums.sum(axis=1, keepdims=True) / np.maximum(other_counts.sum(axis=1, keepdims=True), 1)
    means: _Floats = (other_sums + prior_count * overall) / (other_counts + prior_count)
    return means


def _clipped(weights: NDArray[np.floating], clip: float | None) -> _Floats:
    clipped: _Floats = np.minimum(weights, np.inf if clip is None else clip).astype(np.float64)
    return clipped


def _mean(estimator: str, terms: _Floats, weights: _Floats, shown: Shown) -> OffPolicyEstimate:
    count = len(terms)
    value = float(terms.mean())
    residuals: _Floats = terms - value
    if shown.clusters is not None:
        _, clusters = np.unique(shown.clusters, return_inverse=True)
        residuals = np.bincount(clusters, residuals).astype(np.float64)
    groups = len(residuals)
    variance = float(np.square(residuals).sum()) / count**2 * groups / max(groups - 1, 1)
    squares = float(np.square(weights).sum())
    return OffPolicyEstimate(
        estimator,
        value,
        float(np.sqrt(variance)),
        float(weights.sum()) ** 2 / squares if squares else 0.0,
        count,
        int((shown.weights > weights).sum()),
    )


def _after_value(estimate: OffPolicyEstimate) -> tuple[float, float, int, int]:
    return (
        estimate.standard_error,
        estimate.effective_count,
        estimate.observation_count,
        estimate.clipped_count,
    )
