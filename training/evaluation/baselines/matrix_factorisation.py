"""Matrix factorisation of implicit feedback, by the library implicit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.problem import Problem
from training.evaluation.ranking import rank_in_batches


class MatrixFactorisation:
    """Ranks by the inner product of factors from alternating least squares on weighted implicit feedback.

    Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008. People without a history
    and items nobody had are offered nothing and not offered.

    Args:
        problem: What to learn from.
        factor_count: Length of the factors.
        regularization: The weight of the squared factors, 0 or more.
        confidence: How much more a pair that was seen weighs than one that was not (the paper's alpha, as a factor).
        iterations: Alternations.
        seed: Seed of the initial factors.
        threads: Threads of the library; 0 uses every core.
    """

    name = "matrix factorisation"

    def __init__(
        self,
        problem: Problem,
        *,
        factor_count: int = 64,
        regularization: float = 10.0,
        confidence: float = 3.0,
        iterations: int = 15,
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        # implicit costs a second to import and brings its own thread pools; only this model needs them.
        from implicit.als import AlternatingLeastSquares  # noqa: PLC0415
        from scipy.sparse import csr_matrix  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        # The library warns, and is up to ten times slower, when OpenBLAS runs threads inside its own.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=factor_count,
                regularization=regularization,
                alpha=confidence,
                iterations=iterations,
                use_gpu=False,
                num_threads=threads,
                random_state=seed,
            )
            model.fit(csr_matrix(problem.train), show_progress=False)
        self._excluded = problem.excluded
        self._user_factors: NDArray[np.float32] = np.asarray(model.user_factors, dtype=np.float32)
        self._item_factors: NDArray[np.float32] = np.asarray(model.item_factors, dtype=np.float32)
        self._cold_users = np.diff(problem.train.indptr) == 0
        self._unknown_items = problem.training_counts == 0

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """See :class:`training.evaluation.recommender.Recommender`."""

        def score(batch: NDArray[np.integer]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = self._user_factors[batch] @ self._item_factors.T
            scores[self._cold_users[batch]] = -np.inf
            scores[:, self._unknown_items] = -np.inf
            return scores

        return rank_in_batches(users, self._excluded, k, score)
