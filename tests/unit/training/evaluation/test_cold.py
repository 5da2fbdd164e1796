from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.cold import evaluate_cold, random_expectation
from training.evaluation.metrics import find_hits, hit_rate, ndcg, recall
from training.evaluation.problem import Problem, pose_cold
from training.evaluation.ranking import best_rows

from .conftest import MakeDataset, MakeProblem, cut_split

EVENTS = [("ann", 0, 5.0, 1), ("ann", 1, 5.0, 2), ("bob", 0, 4.0, 3), ("bob", 2, 4.0, 4), ("bob", 1, 5.0, 120)]


class ByScores:
    """Ranks everybody's items by the same scores, without what the problem excludes."""

    name = "by scores"

    def __init__(self, problem: Problem, scores: list[float]) -> None:
        self._problem = problem
        self._scores = np.array(scores, dtype=np.float32)

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        return best_rows(np.tile(self._scores, (len(users), 1)), self._problem.excluded[users], k)


def test_cold_items_compete_with_all_items_beside_chance(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    cold_items = np.array([False, True, False, False, False])
    problem = pose_cold(dataset, cut_split(dataset), dataset.tasks[0], cold_items)
    # Ann's list: 2, 1, ...; Bob has 2 in training, so his begins with 1.
    chance, model = evaluate_cold([ByScores(problem, [9, 7, 8, 1, 0])], problem, ks=(1, 2))
    assert (chance.model, chance.people_count) == ("random", 2)
    assert chance.metrics["recall@1"].mean == pytest.approx(1 / 5)
    assert chance.metrics["recall@2"].mean == pytest.approx(2 / 5)
    assert model.metrics["recall@1"].mean == pytest.approx(1 / 2)
    assert model.metrics["recall@2"].mean == pytest.approx(1)


def test_chance_agrees_with_drawing_orders() -> None:
    item_count, k = 30, 6
    relevant_counts = np.array([1, 4, 9])
    rng = np.random.default_rng(0)
    draws = 20_000
    expected = random_expectation(relevant_counts, item_count, k)
    sums = dict.fromkeys(expected, 0.0)
    for count in relevant_counts:
        # Every order is equally likely, so the first rows may be the relevant ones.
        ranked = rng.permuted(np.tile(np.arange(item_count), (draws, 1)), axis=1)
        hits = ranked < count
        counts = np.full(draws, count)
        sums[f"recall@{k}"] += recall(hits, counts, k).mean() / 3
        sums[f"ndcg@{k}"] += ndcg(hits, counts, k).mean() / 3
        sums[f"hit_rate@{k}"] += hit_rate(hits, counts, k).mean() / 3
    assert expected == pytest.approx(sums, abs=0.005)


def test_chance_finds_all_when_the_list_is_the_catalogue() -> None:
    assert random_expectation(np.array([2]), 5, 9) == pytest.approx(
        {"recall@9": 1.0, "ndcg@9": (2 / 5) * 2.948459 / 1.63093, "hit_rate@9": 1.0}, abs=1e-4
    )


def test_items_with_training_are_not_cold(make_problem: MakeProblem) -> None:
    problem = make_problem([[1, 0], [0, 1]], [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="expected cold items without training interactions, got 2"):
        evaluate_cold([], problem)


def test_labels_of_candidates_come_from_the_relevant_pairs(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    problem = pose_cold(dataset, cut_split(dataset), dataset.tasks[0], np.arange(5) == 1)
    candidates = np.array([[4, 1], [1, 3]], dtype=np.int32)
    assert find_hits(candidates, problem.relevant).tolist() == [[False, True], [True, False]]
