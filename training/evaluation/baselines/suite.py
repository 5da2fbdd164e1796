"""The baselines that stand beside every learned model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import structlog

from training.evaluation.baselines.buy_again import BuyAgain
from training.evaluation.baselines.ease import MAX_ITEM_COUNT, Ease, known_rows
from training.evaluation.baselines.item_knn import ItemKnn
from training.evaluation.baselines.matrix_factorisation import MatrixFactorisation
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.problem import Problem
from training.evaluation.recommender import Fitted, Recommender
from training.evaluation.settings import EvaluationSettings

_log = structlog.get_logger(__name__)


def fit_baselines(
    problem: Problem,
    settings: EvaluationSettings | None = None,
    *,
    recent_days: float = 14.0,
    ease: bool = True,
) -> Iterator[Fitted]:
    """Fits one baseline after the other, each when it is asked for, so that only one need be in memory.

    In order: popularity; popularity of the last days where there is time; buy it again where repeats count; item-kNN;
    EASE where few enough items occur in training (a warning says so otherwise); matrix factorisation.

    Args:
        problem: What to learn from.
        settings: The models' settings; the defaults when None.
        recent_days: How far back recent popularity looks.
        ease: False leaves EASE out, which takes most of the time on ten thousand items.

    Yields:
        Each baseline with its wall time.
    """
    chosen = settings or EvaluationSettings()
    fits: list[Callable[[], Recommender]] = [lambda: Popularity(problem)]
    if problem.training.times is not None:
        fits.append(lambda: Popularity(problem, recent_days))
    if not problem.task.new_items_only:
        fits.append(lambda: BuyAgain(problem))
    fits.append(lambda: ItemKnn(problem))
    item_count = len(known_rows(problem))
    if ease and item_count <= MAX_ITEM_COUNT:
        fits.append(lambda: Ease(problem, chosen.ease_regularization))
    elif ease:
        _log.warning("baseline_left_out", model="EASE", item_count=item_count, max_item_count=MAX_ITEM_COUNT)
    fits.append(
        lambda: MatrixFactorisation(
            problem,
            factor_count=chosen.factor_count,
            regularization=chosen.factor_regularization,
            confidence=chosen.factor_confidence,
        )
    )
    for fit in fits:
        start = time.perf_counter()
        recommender = fit()
        yield Fitted(recommender, time.perf_counter() - start)
