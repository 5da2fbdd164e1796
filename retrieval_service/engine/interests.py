"""The several interests that show in a history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_ENTRIES = 8
"""A shorter history has one interest."""

MAX_GROUPS = 4
"""Each group is one more search. On goodbooks 5 find no more than 4 beyond noise, 3 less (docs/evaluation.md)."""

FAR_COSINE = 0.5
"""An entry at more than 60 degrees from all interests is another one. Of 0.3 to 0.7, 0.4 to 0.7 find alike, and the
lower the fewer histories are split."""

_LEAST_GROUP = 2
"""A single entry is an exception, not an interest."""

_MAX_ROUNDS = 4
"""Recall has not moved by more than 0.001 after the second."""


def interest_groups(vectors: NDArray[np.float32]) -> Sequence[NDArray[np.intp]]:
    """Splits a history's entries into interests by spherical k-means (Dhillon and Modha, 2001).

    The first centre is the newest entry. As long as some entry's cosine with every centre is below :data:`FAR_COSINE`,
    the farthest one is a further centre, up to :data:`MAX_GROUPS` (Gonzalez's farthest-first traversal, 1985). So a
    history has as many groups as it has directions, and the same history always the same groups.

    Args:
        vectors: float32[H, D], the entries' item vectors, L2-normalised, oldest first.

    Returns:
        Positions of the groups' entries, ascending, the group of the newest entry first; groups of one entry are left
        out. Empty when the history is short or of one interest.
    """
    if len(vectors) < LEAST_ENTRIES:
        return []
    # All that k-means needs of the entries are their inner products: few numbers beside the vectors themselves.
    products = vectors @ vectors.T
    centres = _far_apart(products)
    if len(centres) == 1:
        return []
    labels = _k_means(products, centres)
    groups = [np.flatnonzero(labels == label) for label in range(len(centres))]
    groups = sorted((group for group in groups if len(group) >= _LEAST_GROUP), key=lambda group: -group[-1])
    return groups if len(groups) > 1 else []


def _far_apart(products: NDArray[np.float32]) -> list[int]:
    """Positions of entries far from each other, the newest first."""
    chosen = [len(products) - 1]
    nearest = products[-1]
    while len(chosen) < MAX_GROUPS:
        farthest = int(nearest.argmin())
        if nearest[farthest] >= FAR_COSINE:
            break
        chosen.append(farthest)
        nearest = np.maximum(nearest, products[farthest])
    return chosen


def _k_means(products: NDArray[np.float32], centres: list[int]) -> NDArray[np.intp]:
    """intp[H], which group each entry is of.

    Args:
        products: float32[H, H], inner products of the entries.
        centres: The entries that the groups start from.
    """
    names = np.arange(len(centres))[:, np.newaxis]
    labels: NDArray[np.intp] = products[centres].argmax(axis=0)
    for _ in range(_MAX_ROUNDS):
        members = (labels == names).astype(np.float32)
        # Inner products of the groups' sums with the entries, then, divided by the sums' lengths, cosines.
        sums = members @ products
        squares = np.einsum("ij,ij->i", sums, members)
        empty = squares <= 0
        cosines = sums / np.sqrt(np.where(empty, 1, squares))[:, np.newaxis]
        cosines[empty] = -np.inf
        moved = cosines.argmax(axis=0)
        if (moved == labels).all():
            break
        labels = moved
    return labels
