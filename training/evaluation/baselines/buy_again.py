"""What a person already took, most often first: the baseline to beat where repeats count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.evaluation.problem import Problem
from training.evaluation.ranking import rank_in_batches


class BuyAgain:
    """Ranks a person's own training items by how often they did the task's action with them, then by popularity.

    It has no other item to offer, and nothing at all where repeats are excluded.

    Args:
        problem: Where to count.
    """

    name = "buy it again"

    def __init__(self, problem: Problem) -> None:
        training = problem.training
        self._excluded = problem.excluded
        times = csr_array(
            (np.ones(len(training), dtype=np.float32), (training.users, training.rows)), shape=problem.train.shape
        )
        times.sum_duplicates()
        # Popularity as a share below one settles equal counts and never overrules unequal ones.
        counts = problem.training_counts.astype(np.float32)
        times.data += counts[times.indices] / (counts.max(initial=0.0) + 1.0)
        self._times = times

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """See :class:`training.evaluation.recommender.Recommender`."""

        def score(batch: NDArray[np.integer]) -> NDArray[np.float32]:
            dense = self._times[batch].toarray()
            return np.where(dense > 0, dense, np.float32(-np.inf)).astype(np.float32)

        return rank_in_batches(users, self._excluded, k, score)
