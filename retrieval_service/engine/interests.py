"""The several interests that show in a history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_ENTRIES = 8
"""A shorter history has one interest."""

MAX_GROUPS = 4

LEAST_SPREAD = 0.15
"""Entries that spread less than this are one interest. The spread is 1 - the length of the mean of the unit vectors
(Mardia and Jupp, Directional Statistics, section 9.2.1): 0 when all are the same, 0.29 when half of them stand at right
angles to the other half, near 1 when they point everywhere."""

LEAST_GAIN = 0.2
"""What one more group must take off the spread within the groups, as a part of it. Entries around one direction lose
less when they are split, for there is nothing to split them by; eight interests at right angles to each other lose 0.23
by the first split."""

_LEAST_GROUP = 2
"""A single entry is an exception, not an interest."""

_MAX_ROUNDS = 8


def interest_groups(vectors: NDArray[np.float32]) -> Sequence[NDArray[np.intp]]:
    """Splits a history's entries into interests by spherical k-means (Dhillon and Modha, 2001).

    Groups are added as long as each tells much more of the entries apart, up to :data:`MAX_GROUPS`. The first centre is
    the newest entry, every further one the entry farthest from those there are, so the same history always makes the
    same groups.

    Args:
        vectors: float32[H, D], the entries' item vectors, L2-normalised, oldest first.

    Returns:
        Positions of the groups' entries, ascending, the group of the newest entry first; empty when the history is
        short or of one interest.
    """
    if len(vectors) < LEAST_ENTRIES:
        return []
    mean = vectors.mean(axis=0)
    spread = 1.0 - float(np.sqrt(mean @ mean))
    if spread < LEAST_SPREAD:
        return []
    centres = mean[np.newaxis]
    labels = np.zeros(len(vectors), np.intp)
    nearest = vectors @ vectors[-1]
    seeds = vectors[-1:]
    while len(centres) < MAX_GROUPS:
        seeds = np.concatenate([seeds, vectors[np.argmin(nearest)][np.newaxis]])
        split, split_labels = _k_means(vectors, seeds)
        nearest = np.einsum("ij,ij->i", vectors, split[split_labels])
        # The mean cosine with the own centre is the mean length of the groups' means.
        within = 1.0 - float(nearest.mean())
        if within > (1 - LEAST_GAIN) * spread:
            break
        centres, labels, seeds, spread = split, split_labels, split, within
    groups = [np.flatnonzero(labels == label) for label in range(len(centres))]
    groups = sorted((group for group in groups if len(group) >= _LEAST_GROUP), key=lambda group: -group[-1])
    return groups if len(groups) > 1 else []


def _k_means(
    vectors: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Centres, L2-normalised, and which of them each vector is nearest to."""
    labels = np.argmax(vectors @ centres.T, axis=1)
    for _ in range(_MAX_ROUNDS):
        sums = (labels == np.arange(len(centres))[:, np.newaxis]).astype(np.float32) @ vectors
        norms = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        # A centre that lost its entries stays where it was.
        centres = np.where(norms[:, np.newaxis] > 0, sums / np.maximum(norms, 1e-12)[:, np.newaxis], centres)
        moved = np.argmax(vectors @ centres.T, axis=1)
        if (moved == labels).all():
            break
        labels = moved
    return centres, labels
