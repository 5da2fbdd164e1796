"""The figures that the data sets' descriptions state come out of the harness."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.data.read import read_dataset
from training.data.split import split
from training.evaluation.baselines.ease import Ease
from training.evaluation.baselines.item_knn import ItemKnn
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.harness import evaluate
from training.evaluation.problem import Problem, pose
from training.evaluation.recommender import Recommender
from training.evaluation.settings import settings_for

# Recall@20 and hit rate@10 of popularity, item-kNN and EASE; None where EASE would take too long here.
Figures = tuple[float, float]
REFERENCES: list[tuple[str, str, Figures, Figures, Figures | None]] = [
    ("goodbooks-10k", "liked", (0.002, 0.003), (0.321, 0.408), None),
    ("goodbooks-10k", "to_read", (0.039, 0.058), (0.163, 0.240), None),
    ("movietweetings-100k", "liked", (0.197, 0.217), (0.189, 0.227), (0.191, 0.220)),
    ("online-retail", "bought_new", (0.048, 0.228), (0.109, 0.401), (0.121, 0.466)),
    ("movielens-latest-small", "rated", (0.073, 0.043), (0.123, 0.077), None),
]


def _models(problem: Problem, *, ease_regularization: float | None) -> Iterator[Recommender]:
    yield Popularity(problem)
    yield ItemKnn(problem)
    if ease_regularization is not None:
        yield Ease(problem, ease_regularization)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("folder", "task_name", "popularity", "item_knn", "ease"), REFERENCES)
def test_reference_figures_come_out_within_a_hundredth(
    folder: str, task_name: str, popularity: Figures, item_knn: Figures, ease: Figures | None
) -> None:
    root = os.environ.get("TWOSTAGE_TEST_DATA")
    if root is None:
        pytest.skip(f"needs {folder} in the directory that TWOSTAGE_TEST_DATA names")
    dataset = read_dataset(Path(root) / folder)
    task = next(task for task in dataset.tasks if task.name == task_name)
    settings = settings_for(dataset.name, task.name)
    problem = pose(dataset, split(dataset), task, user_limit=settings.user_limit)
    models = _models(problem, ease_regularization=None if ease is None else settings.ease_regularization)
    results = [result for result in evaluate(models, problem, ks=(10, 20), resample_count=0) if result.group == "warm"]
    expected = [popularity, item_knn] + ([] if ease is None else [ease])
    assert len(results) == len(expected)
    for result, (recall, hit_rate) in zip(results, expected, strict=True):
        assert result.metrics["recall@20"].mean == pytest.approx(recall, abs=0.01), result.model
        assert result.metrics["hit_rate@10"].mean == pytest.approx(hit_rate, abs=0.01), result.model
