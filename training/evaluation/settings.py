"""How each published data set's tasks are evaluated, so that figures compare from one report to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EvaluationSettings:
    """What a task's evaluation depends on beside the split.

    Args:
        user_limit: The most people per group, drawn by :func:`training.evaluation.problem.sample_users`; None for all.
        ease_regularization: EASE's lambda, those of the published reference figures.
        factor_count: The length of matrix factorisation's factors.
        factor_regularization: Its weight of squared factors.
        factor_confidence: Its weight of a pair that was seen. The three were chosen by recall and NDCG on the
            validation part, among 32 to 256 factors, regularization 0.05 to 30 and confidence 1 to 100.
    """

    user_limit: int | None = 5_000
    ease_regularization: float = 200.0
    factor_count: int = 64
    factor_regularization: float = 10.0
    factor_confidence: float = 3.0


_GOODBOOKS = EvaluationSettings(factor_count=256, factor_confidence=10.0)
_SMALL = EvaluationSettings(user_limit=None, factor_confidence=1.0)
_PUBLISHED = {
    ("goodbooks-10k", "liked"): replace(_GOODBOOKS, ease_regularization=150.0),
    ("goodbooks-10k", "to_read"): replace(_GOODBOOKS, ease_regularization=300.0),
    ("movietweetings", "liked"): replace(_SMALL, user_limit=3_000, ease_regularization=50.0),
    ("online-retail", "bought_new"): replace(_SMALL, ease_regularization=100.0),
    ("online-retail", "bought_any"): replace(_SMALL, ease_regularization=100.0),
    ("movielens", "rated"): _SMALL,
    ("movielens", "liked"): _SMALL,
}


def settings_for(dataset: str, task: str) -> EvaluationSettings:
    """The settings of a published task, or the defaults for any other.

    Args:
        dataset: The data set's name.
        task: The task's name.
    """
    return _PUBLISHED.get((dataset, task), EvaluationSettings())
