"""Intervals for a mean over people, by resampling the people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES_PER_BATCH = 50


@dataclass(frozen=True)
class Estimate:
    """A metric's mean over people and its interval; ``low`` and ``high`` are None where none was computed."""

    mean: float
    low: float | None = None
    high: float | None = None


def bootstrap(
    values: NDArray[np.floating], *, resample_count: int = 1000, confidence: float = 0.95, seed: int = 0
) -> list[Estimate]:
    """Percentile bootstrap over people (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    All columns share their resamples. To compare two models, pass the difference of their per-person values: an
    interval that leaves 0 out says more than two intervals side by side.

    Args:
        values: float[U, M], one column per metric, NaN where a metric is undefined for a person (left out of that
            column's means).
        resample_count: How many times U people are drawn with replacement; 0 computes no interval.
        confidence: The share of resampled means inside the interval.
        seed: Seed of the draws.

    Returns:
        M estimates; a column of NaN alone has mean NaN and no interval.

    Raises:
        ValueError: ``resample_count`` is negative or ``confidence`` not within (0, 1).
    """
    if resample_count < 0:
        raise ValueError(f"resample_count: expected 0 or more, got {resample_count}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    defined = ~np.isnan(values)
    counts = defined.sum(axis=0)
    known = np.where(defined, values, 0.0).astype(np.float64)
    means = np.where(counts > 0, known.sum(axis=0) / np.maximum(counts, 1), np.nan)
    if not resample_count or not len(values):
        return [Estimate(float(mean)) for mean in means]
    rng = np.random.default_rng(seed)
    resampled = np.empty((resample_count, values.shape[1]))
    for start in range(0, resample_count, _RESAMPLES_PER_BATCH):
        size = min(_RESAMPLES_PER_BATCH, resample_count - start)
        drawn_people = rng.integers(len(values), size=(size, len(values))) + len(values) * np.arange(size)[:, None]
        draws = np.bincount(drawn_people.ravel(), minlength=size * len(values)).reshape(size, -1).astype(np.float64)
        drawn = draws @ defined
        resampled[start : start + size] = np.where(drawn > 0, draws @ known / np.maximum(drawn, 1), np.nan)
    tail = (1 - confidence) / 2
    estimates = []
    for column, mean in enumerate(means):
        usable = resampled[~np.isnan(resampled[:, column]), column]
        if not len(usable) or not counts[column]:
            estimates.append(Estimate(float(mean)))
            continue
        low, high = np.quantile(usable, [tail, 1 - tail])
        estimates.append(Estimate(float(mean), float(low), float(high)))
    return estimates
