"""What answers would have earned with less exploration, or more, from those that were explored.

What is done with an item depends on what stands above it at most, so an item's weight is the product over the positions
down to its own of the probabilities under the epsilon in question over those that were logged: McInerney, Brost,
Chandar, Mehrotra and Carterette, Counterfactual evaluation of slate recommendations with sequential reward
interactions, KDD 2020. At a position where chance had a choice the quotient is

    epsilon' / epsilon                  where chance brought the item
    (1 - epsilon') / (1 - epsilon)      where the best item left stands

and 1 elsewhere. Epsilon' 0 is the answer without exploration. Answers that were explored with epsilon 1 tell nothing of
another epsilon: no best item had a chance to stay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.experiments.off_policy import (
    OffPolicyEstimate,
    Shown,
    cross_fitted_means,
    doubly_robust,
    ips,
    snips,
)
from training.experiments.sample import Sample

_FOLD_COUNT = 5


def estimate_exploration(
    sample: Sample,
    action: str,
    epsilon: float = 0.0,
    *,
    clip: float | None = None,
    chosen: NDArray[np.bool_] | None = None,
) -> list[OffPolicyEstimate]:
    """Estimates how often an action would have been done with a shown item.

    The reward model of the doubly robust estimate is the mean by position and by whether chance brought the item.

    Args:
        sample: The log.
        action: What was done.
        epsilon: Of the policy in question, 0..1; 0 explores nothing.
        clip: Bounds the weights, None for none.
        chosen: bool[A], which answers; all that were explored when None. Those whose epsilon was 1 count for 1 alone.

    Returns:
        The logged policy's own rate (``logged``: weights of 1), then IPS, SNIPS and DR; empty without such answers,
        and where none of them shows anything that the policy in question would have shown.
    """
    items = sample.explored
    keep = (items.epsilons < 1) | (epsilon == 1)
    if chosen is not None:
        keep &= chosen[items.answers]
    answers, positions = items.answers[keep], items.positions[keep]
    if not len(answers):
        return []
    explored, epsilons = items.explored[keep], items.epsilons[keep]
    # Chance is certain to bring the last of a pool where it always has its way.
    had_choice = explored | (items.propensities[keep] < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.where(explored, epsilon / epsilons, (1 - epsilon) / (1 - epsilons))
    above, weights = _prefix_products(np.where(had_choice, quotients, 1.0), answers, positions)
    if not weights.any():
        return []
    rewards = _rewards(sample, action, answers, positions)
    people = sample.people[answers]
    shown = Shown(rewards, weights, people)
    # A cell for each position and way of coming there; a person's items are in one fold.
    cells = positions * 2 + explored
    cell_count = int(cells.max()) + 2
    folds = people % _FOLD_COUNT
    means = cross_fitted_means(rewards, cells, cell_count, fold_of=folds)
    greedy, chance = means[folds, positions * 2], means[folds, positions * 2 + 1]
    here = np.where(had_choice, (1 - epsilon) * greedy + epsilon * chance, greedy)
    predicted = means[folds, cells]
    # What stands above was drawn by the logged policy, so the guess is weighted by what led there (Jiang and Li, Doubly
    # robust off-policy value evaluation for reinforcement learning, ICML 2016).
    guess = np.minimum(above, np.inf if clip is None else clip) * here
    logged = ips(Shown(rewards, np.ones(len(rewards)), people))
    return [
        replace(logged, estimator="logged"),
        ips(shown, clip=clip),
        snips(shown, clip=clip),
        doubly_robust(shown, predicted, guess, clip=clip),
    ]


def _prefix_products(
    quotients: NDArray[np.float64], answers: NDArray[np.int64], positions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64[N] twice, the products of an answer's quotients above each item, and down to it."""
    _, rows = np.unique(answers, return_inverse=True)
    table = np.ones((int(rows.max()) + 1, int(positions.max()) + 2))
    table[rows, positions + 1] = quotients
    products: NDArray[np.float64] = np.cumprod(table, axis=1).astype(np.float64)
    return products[rows, positions], products[rows, positions + 1]


def _rewards(
    sample: Sample, action: str, answers: NDArray[np.int64], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """float64[N], 1 where the action was done with the item."""
    hits = sample.hits
    done = hits.actions == action
    width = int(max(positions.max(), hits.positions.max(initial=0))) + 1
    rewards: NDArray[np.float64] = np.isin(
        answers * width + positions, hits.answers[done] * width + hits.positions[done]
    ).astype(np.float64)
    return rewards
