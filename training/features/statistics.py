"""What an item's past says about it, from the interactions that training may see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from twostage.features.actions import ActionSchema
from twostage.features.history import SECONDS_PER_DAY

RECENT_DAYS = (14.0, 45.0)
"""The windows over which recent popularity is counted."""

_PRIOR_COUNT = 10.0


def item_statistics(interactions: Interactions, item_count: int, actions: ActionSchema) -> NDArray[np.float32]:
    """Statistics of each item as of the newest interaction.

    Args:
        interactions: What training may see.
        item_count: The catalogue's size N.
        actions: The actions to count.

    Returns:
        float32[N, A + 4 + 2]: the logarithm of one plus each action's count; the mean value, drawn towards the
        mean of all by ten imagined values (0 without values), and 1 where the item has values; 1 where it was seen
        at all; the log of one plus the days since it was first seen; and the log of one plus its taste within each
        of RECENT_DAYS (the last three 0 without times).
    """
    rows = interactions.rows

    def log_count(selection: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.log1p(np.bincount(rows[selection], minlength=item_count))

    columns = [
        log_count(actions.label(action.name, interactions.recorded, interactions.actions, interactions.values))
        for action in actions.actions
    ]
    valued = np.isfinite(interactions.values)
    counts = np.bincount(rows[valued], minlength=item_count)
    sums = np.bincount(rows[valued], weights=interactions.values[valued], minlength=item_count)
    prior = sums.sum() / max(counts.sum(), 1)
    columns += [(sums + _PRIOR_COUNT * prior) / (counts + _PRIOR_COUNT), (counts > 0).astype(np.float64)]
    seen = np.bincount(rows, minlength=item_count) > 0
    columns.append(seen.astype(np.float64))
    times = interactions.times
    if times is None or len(times) == 0:
        columns += [np.zeros(item_count)] * (1 + len(RECENT_DAYS))
    else:
        now = times.max()
        first = np.full(item_count, now, np.int64)
        np.minimum.at(first, rows, times)
        columns.append(np.log1p((now - first) / SECONDS_PER_DAY))
        taste = actions.taste_mask(interactions.recorded, interactions.actions, interactions.values)
        columns += [log_count(taste & (times >= now - days * SECONDS_PER_DAY)) for days in RECENT_DAYS]
    return np.stack(columns, axis=1).astype(np.float32)
