from __future__ import annotations

import numpy as np
import pytest
import structlog

from training.evaluation.baselines import ease, item_knn
from training.evaluation.baselines.buy_again import BuyAgain
from training.evaluation.baselines.ease import Ease
from training.evaluation.baselines.item_knn import ItemKnn
from training.evaluation.baselines.matrix_factorisation import MatrixFactorisation
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.baselines.suite import fit_baselines
from training.evaluation.harness import check_lists, evaluate
from training.evaluation.problem import Problem, pose
from training.evaluation.settings import EvaluationSettings

from .conftest import MakeDataset, MakeProblem, cut_split


def expected_lists(scores: np.ndarray, train: np.ndarray) -> list[list[int]]:
    """Rows by falling score without the training items; the scores must have no ties."""
    answer = []
    for row, seen in zip(scores, train > 0, strict=True):
        offered = [item for item in np.argsort(-row) if not seen[item] and row[item] > -np.inf]
        answer.append(offered)
    return answer


def unpadded(ranked: np.ndarray) -> list[list[int]]:
    return [[int(row) for row in listed if row >= 0] for listed in ranked]


def test_popularity_ranks_by_people_and_leaves_out_what_they_have(make_problem: MakeProblem) -> None:
    problem = make_problem([[1, 1, 0, 0], [1, 0, 3, 0], [1, 1, 0, 0]], [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    # Three had row 0, two row 1, one row 2 (three times over), nobody row 3.
    assert Popularity(problem).recommend(np.array([0, 1]), 4).tolist() == [[2, 3, -1, -1], [1, 3, -1, -1]]


def test_recent_popularity_counts_people_of_the_last_days_alone(make_dataset: MakeDataset) -> None:
    day = 86_400
    events = [
        ("a", 0, 5.0, 0),
        ("b", 0, 5.0, 1),
        ("c", 0, 5.0, 2),
        ("a", 1, 5.0, 20 * day),
        ("a", 1, 5.0, 20 * day + 1),
        ("a", 1, 5.0, 20 * day + 2),
        ("b", 2, 5.0, 19 * day),
        ("c", 2, 5.0, 18 * day),
        ("d", 0, 5.0, 21 * day),
    ]
    dataset = make_dataset(events, 3)
    problem = pose(dataset, cut_split(dataset, 21 * day), dataset.tasks[0])
    recent = Popularity(problem, 14)
    assert recent.name == "popularity, last 14 days"
    assert recent.recommend(np.array([3]), 2).tolist() == [[2, 1]]
    assert Popularity(problem).recommend(np.array([3]), 1).tolist() == [[0]]


def test_recent_popularity_needs_time(make_dataset: MakeDataset) -> None:
    events = [("a", 0, 5.0, 0), ("b", 1, 5.0, 0), ("a", 1, 5.0, 100)]
    timed, timeless = make_dataset(events, 2), make_dataset(events, 2, timed=False)
    problem = pose(timeless, cut_split(timed), timeless.tasks[0])
    with pytest.raises(ValueError, match="data set 'made' has no time"):
        Popularity(problem, 14)
    assert [f.recommender.name for f in fit_baselines(problem)][:2] == ["popularity", "item-kNN"]


def test_buy_it_again_ranks_by_how_often_then_by_popularity(make_problem: MakeProblem) -> None:
    train = [[1, 2, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0]]
    problem = make_problem(train, [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]], new_items_only=False)
    assert BuyAgain(problem).recommend(np.array([0]), 4).tolist() == [[1, 2, 0, -1]]


def test_item_knn_agrees_with_sums_over_each_items_neighbours(
    random_problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several batches of items, so that their borders are passed.
    monkeypatch.setattr(item_knn, "batches", lambda count, _: (slice(s, min(s + 7, count)) for s in range(0, count, 7)))
    train = random_problem.train.toarray()
    people, items = train.shape
    similar = np.zeros((items, items))
    for one in range(items):
        for other in range(items):
            if one != other:
                both = float(((train[:, one] > 0) & (train[:, other] > 0)).sum())
                similar[one, other] = both / (np.sqrt(train[:, one].sum() * train[:, other].sum()) + 10)
    scores = np.zeros((people, items))
    for item in range(items):
        least = sorted(similar[item])[-6]
        for person in range(people):
            owned = np.flatnonzero(train[person])
            scores[person, item] = sum(similar[item, other] for other in owned if similar[item, other] >= least)
    ranked = ItemKnn(random_problem, neighbour_count=6, shrink=10).recommend(np.arange(people), items)
    for person, listed in enumerate(unpadded(ranked)):
        assert set(listed) == set(np.flatnonzero((scores[person] > 0) & (train[person] == 0)))
        values = scores[person, listed]
        assert (values[1:] <= values[:-1] + 1e-6).all()


def test_ease_weights_are_the_ridge_regressions_of_each_item_on_the_others(random_problem: Problem) -> None:
    train = random_problem.train.toarray().astype(np.float64)
    people, items = train.shape
    weights = np.zeros((items, items))
    for item in range(items):
        others = [other for other in range(items) if other != item]
        design = train[:, others]
        solved = np.linalg.solve(design.T @ design + 20 * np.eye(items - 1), design.T @ train[:, item])
        weights[others, item] = solved
    scores = train @ weights
    scores[train.sum(axis=1) == 0] = -np.inf
    ranked = Ease(random_problem, 20).recommend(np.arange(people), items)
    assert unpadded(ranked) == expected_lists(scores, train)


def test_ease_refuses_a_catalogue_whose_matrix_would_not_fit(
    random_problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "MAX_ITEM_COUNT", 39)
    with pytest.raises(ValueError, match=r"EASE: expected at most 39 items in training.* got 40"):
        Ease(random_problem, 20)


@pytest.mark.parametrize("regularization", [0.0, -1.0])
def test_ease_refuses_a_lambda_that_is_not_positive(random_problem: Problem, regularization: float) -> None:
    with pytest.raises(ValueError, match="regularization: expected a positive number"):
        Ease(random_problem, regularization)


def test_models_of_people_offer_nothing_to_people_and_of_items_without_training(make_problem: MakeProblem) -> None:
    train = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    problem = make_problem(train, [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    for model in (ItemKnn(problem), Ease(problem, 1.0), MatrixFactorisation(problem, factor_count=2)):
        ranked = model.recommend(np.array([0, 3]), 4).tolist()
        assert ranked == [[2, -1, -1, -1], [-1, -1, -1, -1]], model.name


def test_matrix_factorisation_finds_planted_tastes_and_does_so_again(random_problem: Problem) -> None:
    users = random_problem.groups["warm"]
    first = MatrixFactorisation(random_problem, factor_count=6)
    again = MatrixFactorisation(random_problem, factor_count=6)
    ranked = first.recommend(users, 3)
    assert ranked.tolist() == again.recommend(users, 3).tolist()
    # Everybody prefers items of their own class modulo four; one in four would be chance.
    own = (ranked % 4 == (users % 4)[:, None])[ranked >= 0].mean()
    assert own > 0.6


def test_every_baseline_keeps_the_promises_of_a_recommender(random_problem: Problem) -> None:
    users = random_problem.groups["warm"]
    for fitted in fit_baselines(random_problem):
        assert fitted.fit_seconds is not None
        assert fitted.fit_seconds >= 0
        check_lists(fitted.recommender.name, fitted.recommender.recommend(users, 30), random_problem, users, 30)


def test_personal_baselines_beat_popularity_on_planted_tastes(random_problem: Problem) -> None:
    results = evaluate(
        fit_baselines(random_problem, EvaluationSettings(ease_regularization=5)),
        random_problem,
        ks=(3,),
        resample_count=0,
    )
    recalls = {result.model: result.metrics["recall@3"].mean for result in results}
    for model in ("item-kNN", "EASE", "matrix factorisation"):
        assert recalls[model] > recalls["popularity"] + 0.1


def test_the_suite_says_when_it_leaves_ease_out(random_problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.baselines.suite.MAX_ITEM_COUNT", 39)
    with structlog.testing.capture_logs() as logs:
        names = [fitted.recommender.name for fitted in fit_baselines(random_problem)]
    assert "EASE" not in names
    assert [(log["event"], log["item_count"]) for log in logs] == [("baseline_left_out", 40)]
