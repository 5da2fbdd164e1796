"""From a score for every item to the best rows, with ties broken alike on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_SCORES_PER_BATCH = 16_000_000
"""Bounds a batch of dense scores to 64 MB of float32."""


def tie_order(item_count: int) -> NDArray[np.uint32]:
    """The order in which equally scored items are ranked: a fixed pseudo-random permutation.

    The order of the source would leak: catalogues are often numbered by popularity (goodbooks-10k is).

    Args:
        item_count: N, the size of the catalogue.

    Returns:
        uint32[N]: each row's place among equals, the lower the earlier; the same on every call.
    """
    return np.random.default_rng(0).permutation(item_count).astype(np.uint32)


def best_rows(
    scores: NDArray[np.float32], excluded: csr_array, k: int, order: NDArray[np.uint32] | None = None
) -> NDArray[np.int32]:
    """Selects each person's best k rows of the whole catalogue.

    Equal scores follow the tie order, so the answer does not depend on how a library's partial sort treats ties
    (NumPy's differs between CPUs).

    Args:
        scores: float32[B, N], higher is better; -inf marks an item that is not offered.
        excluded: CSR [B, N] whose stored entries are not offered.
        k: How many rows, at least 1.
        order: uint32[N], places among equals; :func:`tie_order` when None.

    Returns:
        int32[B, k], best first, -1 where fewer than k items are offered.

    Raises:
        ValueError: A score is NaN or +inf, or ``k`` is below 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    user_count, item_count = scores.shape
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise ValueError("scores: expected numbers or -inf, got NaN or +inf")
    places = tie_order(item_count) if order is None else order
    # Negated: a partial sort from this end is twenty times faster when most items are not offered.
    losses = -scores
    losses[np.repeat(np.arange(user_count), np.diff(excluded.indptr)), excluded.indices] = np.inf
    kept = min(k, item_count)
    # The k-th best *value* is the same whatever a partial sort does with ties; which rows it puts first is not.
    worst = np.partition(losses, kept - 1, axis=1)[:, kept - 1]
    people, rows = np.nonzero((losses <= worst[:, None]) & (losses < np.inf))
    order_found = np.lexsort((places[rows], losses[people, rows], people))
    people, rows = people[order_found], rows[order_found]
    place = np.arange(len(people)) - np.searchsorted(people, people)
    within = place < kept
    answer = np.full((user_count, k), -1, dtype=np.int32)
    answer[people[within], place[within]] = rows[within]
    return answer


def rank_in_batches(
    users: NDArray[np.integer],
    excluded: csr_array,
    k: int,
    score: Callable[[NDArray[np.integer]], NDArray[np.float32]],
) -> NDArray[np.int32]:
    """Scores and ranks people a bounded number at a time.

    Args:
        users: int[B], positions in the data set's ``user_ids``.
        excluded: CSR [U, N] over all people; stored entries are not offered.
        k: How many rows per person.
        score: Gives float32[b, N] for int[b] people; -inf for items it has no evidence for.

    Returns:
        int32[B, k] as :func:`best_rows`.
    """
    order = tie_order(excluded.shape[1])
    answer = np.empty((len(users), k), dtype=np.int32)
    for part in batches(len(users), excluded.shape[1]):
        batch = users[part]
        answer[part] = best_rows(score(batch), excluded[batch], k, order)
    return answer


def batches(user_count: int, item_count: int) -> Iterator[slice]:
    """Slices of people whose dense scores over ``item_count`` items stay within a bounded memory."""
    size = max(1, _SCORES_PER_BATCH // max(item_count, 1))
    for start in range(0, user_count, size):
        yield slice(start, min(start + size, user_count))
