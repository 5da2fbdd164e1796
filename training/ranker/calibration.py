"""Scores into probabilities over whole candidate lists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.ranker.examples import Examples
from training.ranker.model import RankerModel
from training.ranker.scorer import RankerScorer


def fit_calibration(
    model: RankerModel, scorer: RankerScorer, examples: Examples, people: NDArray[np.int64], limit: int = 1000
) -> None:
    """Fits a scale and a shift per action, which leave every order as it is.

    Training sees sampled negatives, so that its sigmoids say too much. The fit is that of J. Platt, *Probabilistic
    Outputs for Support Vector Machines*, 1999, over all candidates of some people.

    Args:
        model: The ranker, changed in place; its scale is 1 and its shift 0.
        scorer: Scores with that model.
        examples: Candidates and what people did next.
        people: Whose candidates to fit on, at best people the model did not train on.
        limit: How many of them at most.
    """
    people = people[:limit]
    rows = examples.candidates.rows[people]
    logits = scorer.logits(examples.requests, people, rows, examples.candidates.scores[people])
    labels = np.stack([examples.labels_of(int(p), rows[position]) for position, p in enumerate(people)])
    present = rows >= 0
    scales, shifts = [], []
    for column in range(logits.shape[2]):
        scale, shift = platt(logits[:, :, column][present], labels[:, :, column][present])
        scales.append(scale)
        shifts.append(shift)
    model.scale.assign(scales)
    model.shift.assign(shifts)


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
