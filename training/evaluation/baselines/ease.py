"""EASE: the closed-form linear autoencoder over items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.problem import Problem
from training.evaluation.ranking import rank_in_batches

MAX_ITEM_COUNT = 20_000
"""The dense item-by-item matrix takes 1.6 GB of float32 here and its inverse grows with the cube of this."""


class Ease:
    """Ranks an item by a person's items through B = I - P · diag(1 / diag P), P = (XᵀX + λI)⁻¹.

    Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, equations 8 and following. People without a
    history are offered nothing, and items nobody had are not offered.

    Args:
        problem: What to learn from.
        regularization: λ, in numbers of people, positive.

    Raises:
        ValueError: λ is not positive or too many items occur in training for a dense item-by-item matrix.
    """

    name = "EASE"

    def __init__(self, problem: Problem, regularization: float) -> None:
        if regularization <= 0:
            raise ValueError(f"regularization: expected a positive number, got {regularization}")
        self._known = known_rows(problem)
        if len(self._known) > MAX_ITEM_COUNT:
            raise ValueError(
                f"EASE: expected at most {MAX_ITEM_COUNT:,} items in training, for it inverts a dense item-by-item "
                f"matrix, got {len(self._known):,}"
            )
        self._item_count = problem.item_count
        self._train = problem.train[:, self._known]
        self._excluded = problem.excluded
        gram = (self._train.T @ self._train).toarray()
        diagonal = np.diag_indices(len(self._known))
        gram[diagonal] += np.float32(regularization)
        self._weights = _inverse(gram)
        # Each column is divided by its own diagonal entry: the weights that lead to that item.
        self._weights /= -self._weights[diagonal]
        self._weights[diagonal] = 0.0

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """See :class:`training.evaluation.recommender.Recommender`."""

        def score(batch: NDArray[np.integer]) -> NDArray[np.float32]:
            histories = self._train[batch]
            scores = np.full((len(batch), self._item_count), -np.inf, dtype=np.float32)
            scores[:, self._known] = histories @ self._weights
            scores[np.diff(histories.indptr) == 0] = -np.inf
            return scores

        return rank_in_batches(users, self._excluded, k, score)


def known_rows(problem: Problem) -> NDArray[np.intp]:
    """The rows of the items that occur in training: the others would only make the inverse larger."""
    return np.flatnonzero(problem.training_counts)


def _inverse(gram: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of a symmetric positive definite matrix, through Cholesky: half the work of a general inverse."""
    # scipy's linear algebra takes a while to import and only this needs it.
    from scipy.linalg import lapack  # noqa: PLC0415

    # The transpose of a C-ordered symmetric matrix is itself in Fortran's order, so LAPACK works in place.
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)
    if failed:
        raise ValueError(f"EASE: the regularised Gram matrix is not positive definite in float32 (LAPACK: {failed})")
    inverse: NDArray[np.float32]
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    for column in range(len(inverse) - 1):
        inverse[column, column + 1 :] = inverse[column + 1 :, column]
    return np.ascontiguousarray(inverse.T)
