"""Item-based nearest neighbours."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from training.evaluation.problem import Problem
from training.evaluation.ranking import batches, rank_in_batches


class ItemKnn:
    """Ranks an item by its similarity to the person's items, over each item's nearest neighbours.

    sim(i, j) = |people with both| / (√(|i| · |j|) + shrink), with only the ``neighbour_count`` largest of each i kept;
    score(i) = Σ over the person's items j of sim(i, j). Sarwar et al., Item-based collaborative filtering
    recommendation algorithms, WWW 2001; the shrunk cosine as in Ferrari Dacrema et al., Are we really making much
    progress?, RecSys 2019. An item similar to none of the person's is not offered.

    Args:
        problem: What to learn from.
        neighbour_count: How many neighbours of each item count.
        shrink: Damps similarities that rest on few people.
    """

    name = "item-kNN"

    def __init__(self, problem: Problem, neighbour_count: int = 100, shrink: float = 10.0) -> None:
        self._train = problem.train
        self._excluded = problem.excluded
        self._neighbours = _neighbours(problem.train, neighbour_count, shrink).T.tocsr()

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """See :class:`training.evaluation.recommender.Recommender`."""

        def score(batch: NDArray[np.integer]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = (self._train[batch] @ self._neighbours).toarray()
            scores[scores == 0] = -np.inf
            return scores

        return rank_in_batches(users, self._excluded, k, score)


def _neighbours(train: csr_array, neighbour_count: int, shrink: float) -> csr_array:
    """CSR float32 [N, N]: row i holds the similarities of i's nearest neighbours."""
    item_count = train.shape[1]
    people_by_item = train.T.tocsr()
    norms = np.sqrt(np.diff(people_by_item.indptr)).astype(np.float32)
    parts = []
    for part in batches(item_count, item_count):
        similar = (people_by_item[part] @ train).tocsr()
        ones = np.repeat(np.arange(part.start, part.stop), np.diff(similar.indptr))
        similar.data /= norms[ones] * norms[similar.indices] + np.float32(shrink)
        similar.data[ones == similar.indices] = 0.0
        for start, stop in pairwise(similar.indptr):
            if stop - start > neighbour_count:
                row = similar.data[start:stop]
                # Equal neighbours at the border all stay, so the choice does not hang on a sort's treatment of ties.
                row[row < np.partition(row, -neighbour_count)[-neighbour_count]] = 0.0
        similar.eliminate_zeros()
        parts.append(similar)
    return vstack(parts, format="csr")
