"""Orders of items that time gives: what is trending, what is new."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from twostage.features.history import SECONDS_PER_DAY

LEAST_TRENDING_WEIGHT = 1 / 64
"""Below it an item is not trending: a single interaction comes to it after six half-lives."""


def trending_rows(taste: Interactions, item_count: int, half_life_days: float) -> NDArray[np.uint32] | None:
    """Items by decayed counts, as of the newest interaction.

    An interaction that is d days older than the newest weighs ``0.5 ** (d / half_life_days)``.

    Args:
        taste: The interactions that are taste; repeats count again, as they do in the popularity.
        item_count: The catalogue's size N.
        half_life_days: The age at which an interaction weighs half, above 0.

    Returns:
        uint32[M], the highest sum of weights first, ties by the plain count, then by row; items whose sum is below
        LEAST_TRENDING_WEIGHT are not in it. None when nobody knows when the interactions happened.
    """
    if taste.times is None:
        return None
    ages_days = (taste.times.max(initial=0) - taste.times) / SECONDS_PER_DAY
    sums = np.bincount(taste.rows, weights=0.5 ** (ages_days / half_life_days), minlength=item_count)
    counts = np.bincount(taste.rows, minlength=item_count)
    order = np.lexsort((np.arange(item_count), -counts, -sums))
    return order[sums[order] >= LEAST_TRENDING_WEIGHT].astype(np.uint32)


def arrival_rows(interactions: Interactions, item_count: int) -> NDArray[np.uint32] | None:
    """Items by when somebody first acted on them, the newest first.

    No format that training reads states when an item was added, so the first interaction stands for it.

    Args:
        interactions: Everything that may be known, taste or not.
        item_count: The catalogue's size N.

    Returns:
        uint32[M], ties by row, without items that nobody acted on. None when nobody knows when the interactions
        happened.
    """
    if interactions.times is None:
        return None
    never = np.iinfo(np.int64).max
    firsts = np.full(item_count, never, np.int64)
    np.minimum.at(firsts, interactions.rows, interactions.times)
    order = np.lexsort((np.arange(item_count), -firsts))
    return order[firsts[order] < never].astype(np.uint32)
