"""Scores into probabilities over whole candidate lists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from training.ranker.examples import Examples
from training.ranker.families.ranker import Ranker
from training.ranker.scorer import RankerScorer


def fit_calibration(
    model: Ranker, scorer: RankerScorer, examples: Examples, people: NDArray[np.int64], limit: int = 1000
) -> None:
    """Fits a scale and a shift per action, which leave every order as it is.

    Training sees sampled negatives, so that its sigmoids say too much. The fit is that of J. Platt, *Probabilistic
    Outputs for Support Vector Machines*, 1999, over all candidates of some people.

    Args:
        model: The ranker, changed in place; the scale and shift that it had are forgotten.
        scorer: Scores with that model.
        examples: Candidates and what people did next.
        people: Whose candidates to fit on, at best people the model did not train on.
        limit: How many of them at most.
    """
    scales, shifts = [], []
    for logits, labels in _by_action(model, scorer, examples, people[:limit]):
        scale, shift = platt(logits, labels)
        scales.append(scale)
        shifts.append(shift)
    model.scale.assign(scales)
    model.shift.assign(shifts)


def fit_level(
    model: Ranker, scorer: RankerScorer, examples: Examples, people: NDArray[np.int64], limit: int = 1000
) -> None:
    """Fits a shift per action, so that an untrained ranker says as much on average as was done.

    Otherwise its first steps would go into pushing every score down.

    Args:
        model: The ranker, changed in place.
        scorer: Scores with that model.
        examples: Candidates and what people did next.
        people: Whose candidates to fit on.
        limit: How many of them at most.
    """
    found = _by_action(model, scorer, examples, people[:limit])
    model.shift.assign([level(logits, labels) for logits, labels in found])


def _by_action(
    model: Ranker, scorer: RankerScorer, examples: Examples, people: NDArray[np.int64]
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """For each action, logits without scale and shift and labels of all candidates of some people."""
    model.scale.assign(np.ones(model.action_count, np.float32))
    model.shift.assign(np.zeros(model.action_count, np.float32))
    rows = examples.candidates.rows[people]
    logits = scorer.logits(examples.requests, people, rows, examples.candidates.scores[people])
    labels = np.stack([examples.labels_of(int(p), rows[position]) for position, p in enumerate(people)])
    present = rows >= 0
    return [(logits[:, :, column][present], labels[:, :, column][present]) for column in range(logits.shape[2])]


def platt(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """The scale (above 0) and shift that minimise the log loss of ``sigmoid(scale * logits + shift)``.

    The targets are smoothed as Platt proposes, so that an action nobody took keeps finite scores.

    Args:
        logits: float[n].
        labels: bool[n].
    """
    positive, negative = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale = np.exp(parameters[0])
        scaled = scale * logits + parameters[1]
        value = np.mean(np.logaddexp(0, scaled) - targets * scaled)
        slope = 1 / (1 + np.exp(-np.clip(scaled, -60, 60))) - targets
        return float(value), np.array([np.mean(slope * logits) * scale, np.mean(slope)])

    fitted = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-3, 3), (-30, 30)])
    return float(np.exp(fitted.x[0])), float(fitted.x[1])


def level(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """The shift at which the mean of ``sigmoid(logits + shift)`` is the part of the labels that are True.

    The part is smoothed by one imagined label of each kind, so that an action nobody took keeps finite scores.

    Args:
        logits: float[n].
        labels: bool[n].
    """
    part = (int(labels.sum()) + 1) / (len(labels) + 2)
    low, high = -60.0, 60.0
    # The mean rises with the shift.
    for _ in range(60):
        middle = (low + high) / 2
        too_much = float(np.mean(expit(logits.astype(np.float64) + middle))) > part
        low, high = (low, middle) if too_much else (middle, high)
    return (low + high) / 2
