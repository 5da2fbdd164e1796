"""The same list for everybody: what most people took, ever or lately."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.problem import Problem
from training.evaluation.ranking import rank_in_batches


class Popularity:
    """Ranks items by how many people did the task's action with them in training.

    Args:
        problem: Where to count.
        days: Count only the last days of training, e.g. 14; None counts all of it.

    Raises:
        ValueError: ``days`` is given and the data set has no time, or it is not positive.
    """

    def __init__(self, problem: Problem, days: float | None = None) -> None:
        self.name = "popularity" if days is None else f"popularity, last {days:g} days"
        self._excluded = problem.excluded
        if days is None:
            self._counts = problem.training_counts.astype(np.float32)
            return
        training = problem.training
        if days <= 0:
            raise ValueError(f"days: expected a positive number, got {days}")
        if training.times is None:
            raise ValueError(f"days: data set {problem.dataset!r} has no time")
        latest = int(training.times.max(initial=0))
        recent = training.take(training.times > latest - days * 86_400)
        pairs = np.unique(np.stack([recent.users, recent.rows]), axis=1)
        self._counts = np.bincount(pairs[1], minlength=problem.item_count).astype(np.float32)

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """See :class:`training.evaluation.recommender.Recommender`; items nobody had come last."""
        return rank_in_batches(users, self._excluded, k, lambda batch: np.tile(self._counts, (len(batch), 1)))
