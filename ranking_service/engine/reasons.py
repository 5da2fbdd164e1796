"""Why an item is recommended, in words, from likeness to what the person did.

Likeness is the cosine between item vectors of the default tower, the space in which candidates are found. The ranker
does not compute by it, so a reason says what an item resembles and claims nothing about causes inside the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.features.actions import ActionSchema
from twostage.features.history import History

MAX_REASONS = 3
"""How many reasons an item gets at most."""


def taste_rows(history: History, schema: ActionSchema, recorded: Sequence[str] = ()) -> NDArray[np.uint32]:
    """The distinct rows of the newest 50 entries that speak of taste, oldest first.

    Args:
        history: Oldest first, any length. An entry whose action is not known counts as taste.
        schema: Says which actions are taste, e.g. a rating of 4 is and one of 2 is not.
        recorded: The names that the history's action codes count from 1.

    Returns:
        uint32[T], T at most 50.
    """
    newest = history.newest()
    codes = newest.actions - 1
    taste = schema.taste_mask(recorded, codes, newest.values) | (codes < 0)
    return np.array(list(dict.fromkeys(newest.rows[taste].tolist())), np.uint32)


def reasons(
    rows: NDArray[np.uint32],
    liked_rows: NDArray[np.uint32],
    item_vectors: NDArray[Any],
    title_of: Callable[[int], str],
    id_of: Callable[[int], str],
) -> list[list[str]]:
    """Names the history's items that each recommended item is most like.

    Args:
        rows: uint32[K], the recommended items.
        liked_rows: uint32[T], the history's items, from :func:`taste_rows`.
        item_vectors: [items, D], L2-normalised.
        title_of: A row's title, empty when unknown.
        id_of: A row's id, shown when there is no title.

    Returns:
        K lists of up to three reasons, the most alike first; none for items that are unlike everything in the history
        (cosine of 0 or less). An item is no reason for itself.
    """
    if not len(rows) or not len(liked_rows):
        return [[] for _ in range(len(rows))]
    recommended = item_vectors[rows].astype(np.float32)
    liked = item_vectors[liked_rows].astype(np.float32)
    likeness = recommended @ liked.T
    likeness[rows[:, None] == liked_rows[None, :]] = -1.0
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :MAX_REASONS]
    explained: list[list[str]] = []
    for item, columns in enumerate(nearest.tolist()):
        texts = []
        for column in columns:
            cosine = float(likeness[item, column])
            if cosine > 0:
                row = int(liked_rows[column])
                texts.append(f"because of {title_of(row) or id_of(row)} (likeness {cosine:.2f})")
        explained.append(texts)
    return explained
