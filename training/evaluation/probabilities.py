"""How well scores tell what a person did from what they did not: AUC and log loss over a ranker's candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def auc(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """AUC = P(score of a positive > score of a negative), a tie counting one half.

    The Mann-Whitney statistic from mid-ranks: (Σ ranks of positives - P(P + 1)/2) / (P · Q); Hanley and McNeil, The
    meaning and use of the area under a ROC curve, Radiology 143, 1982.

    Args:
        labels: bool[M].
        scores: float[M], higher is likelier.

    Returns:
        A number in [0, 1], NaN without both a positive and a negative.
    """
    return float(auc_by_list(labels[None, :], scores[None, :])[0])


def auc_by_list(
    labels: NDArray[np.bool_], scores: NDArray[np.floating], present: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """The :func:`auc` within each person's candidates.

    Args:
        labels: bool[U, C].
        scores: float[U, C], higher is likelier.
        present: bool[U, C], False for padding; None when every list is full.

    Returns:
        float64[U], NaN for a list without both a positive and a negative.

    Raises:
        ValueError: The arrays differ in shape or a present score is NaN.
    """
    here = _checked(labels, scores, present)
    # Padding ranks below everything, so the present ones' ranks are too high by the number of padded places.
    padded = (~here).sum(axis=1)
    ranks = rankdata(np.where(here, scores, -np.inf), axis=1) - padded[:, None]
    positive = labels & here
    positives = positive.sum(axis=1)
    negatives = (here & ~labels).sum(axis=1)
    wins = np.where(positive, ranks, 0.0).sum(axis=1) - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)


def log_loss(labels: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> float:
    """LogLoss = -mean(y · ln p + (1 - y) · ln(1 - p)), natural logarithm.

    Good, Rational decisions, Journal of the Royal Statistical Society B 14(1), 1952. Probabilities are kept 1e-7 away
    from 0 and 1, about float32's resolution there, so that one certain mistake is costly but finite.

    Args:
        labels: bool[M].
        probabilities: float[M] in [0, 1].

    Returns:
        A number at least 0, NaN for M = 0.
    """
    return float(log_loss_by_list(labels[None, :], probabilities[None, :])[0])


def log_loss_by_list(
    labels: NDArray[np.bool_], probabilities: NDArray[np.floating], present: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """The :func:`log_loss` within each person's candidates.

    Args:
        labels: bool[U, C].
        probabilities: float[U, C] in [0, 1].
        present: bool[U, C], False for padding; None when every list is full.

    Returns:
        float64[U], NaN for an empty list.

    Raises:
        ValueError: The arrays differ in shape, or a present probability is NaN or outside [0, 1].
    """
    here = _checked(labels, probabilities, present)
    inside = np.where(here, probabilities, 0.5).astype(np.float64)
    if ((inside < 0) | (inside > 1)).any():
        raise ValueError(f"probabilities: expected [0, 1], got {inside.min()} to {inside.max()}")
    inside = np.clip(inside, 1e-7, 1 - 1e-7)
    losses = -np.where(here, np.where(labels, np.log(inside), np.log1p(-inside)), 0.0).sum(axis=1)
    counts = here.sum(axis=1)
    return np.where(counts > 0, losses / np.maximum(counts, 1), np.nan)


def _checked(
    labels: NDArray[np.bool_], scores: NDArray[np.floating], present: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    here = np.ones(labels.shape, dtype=np.bool_) if present is None else present
    if not labels.shape == scores.shape == here.shape:
        raise ValueError(
            f"labels, scores, present: expected one shape, got {labels.shape}, {scores.shape}, {here.shape}"
        )
    if np.isnan(scores[here]).any():
        raise ValueError("scores: expected numbers, got NaN")
    return here
