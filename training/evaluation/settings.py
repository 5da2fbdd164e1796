"""How each published data set's tasks are evaluated, so that figures compare from one report to the next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationSettings:
    """What a task's evaluation depends on beside the split.

    Args:
        user_limit: The most people per group, drawn by :func:`training.evaluation.problem.sample_users`; None for all.
        ease_regularization: EASE's lambda.
    """

    user_limit: int | None = 5_000
    ease_regularization: float = 200.0


_PUBLISHED = {
    ("goodbooks-10k", "liked"): EvaluationSettings(user_limit=5_000, ease_regularization=150.0),
    ("goodbooks-10k", "to_read"): EvaluationSettings(user_limit=5_000, ease_regularization=300.0),
    ("movietweetings", "liked"): EvaluationSettings(user_limit=3_000, ease_regularization=50.0),
    ("online-retail", "bought_new"): EvaluationSettings(user_limit=None, ease_regularization=100.0),
    ("online-retail", "bought_any"): EvaluationSettings(user_limit=None, ease_regularization=100.0),
    ("movielens", "rated"): EvaluationSettings(user_limit=None, ease_regularization=200.0),
}


def settings_for(dataset: str, task: str) -> EvaluationSettings:
    """The settings of a published task, or the defaults for any other.

    Args:
        dataset: The data set's name.
        task: The task's name.
    """
    return _PUBLISHED.get((dataset, task), EvaluationSettings())
