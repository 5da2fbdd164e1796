from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.harness import evaluate
from training.evaluation.problem import Problem
from training.evaluation.recommender import Fitted

from .conftest import MakeProblem


class Listed:
    """Recommends given lists by user position."""

    def __init__(self, lists: list[list[int]], name: str = "listed") -> None:
        self.name = name
        self._lists = np.array(lists, dtype=np.int32)

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        return self._lists[users, :k]


@pytest.fixture
def problem(make_problem: MakeProblem) -> Problem:
    # Person 2 is cold; row 3 is nobody's.
    return make_problem([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], [[0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]])


def test_results_come_by_model_and_group(problem: Problem) -> None:
    lists = [[2, 3], [3, 1], [0, 3]]
    results = evaluate([Listed(lists, "one"), Fitted(Listed(lists, "two"), 3.5)], problem, ks=(1, 2))
    assert [(r.model, r.group, r.people_count, r.fit_seconds) for r in results] == [
        ("one", "warm", 2, None),
        ("one", "cold", 1, None),
        ("two", "warm", 2, 3.5),
        ("two", "cold", 1, 3.5),
    ]
    warm, cold = results[:2]
    assert warm.by_person["recall@1"].tolist() == [1, 0]
    assert warm.metrics["recall@1"].mean == 0.5
    assert (warm.metrics["recall@1"].low, warm.metrics["recall@1"].high) == (0, 1)
    assert warm.metrics["mrr@2"].mean == pytest.approx((1 + 1 / 2) / 2)
    assert warm.metrics["coverage@2"].mean == pytest.approx(3 / 4)
    assert warm.metrics["coverage@2"].low is None
    assert cold.metrics["recall@2"].mean == pytest.approx(1 / 2)
    # Two people have training: row 2 (one of them) is one bit, row 3 (nobody) counts as one person too.
    assert warm.metrics["novelty@2"].mean == pytest.approx((1 + 1 + 1 + 1) / 4)
    assert "diversity@2" not in warm.metrics


def test_item_vectors_add_diversity(problem: Problem) -> None:
    (warm, _) = evaluate([Listed([[2, 3], [3, 1], [0, 3]])], problem, ks=(2,), item_vectors=np.eye(4))
    assert warm.metrics["diversity@2"].mean == pytest.approx(1)


def test_short_lists_count_as_misses_beyond_their_end(problem: Problem) -> None:
    (warm, _) = evaluate([Listed([[2, -1], [-1, -1], [-1, -1]])], problem, ks=(1, 2))
    assert warm.by_person["recall@2"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0, 2], [1, 3], [0, 1]], "listed: expected no excluded item, got row 0 for user position 0"),
        ([[2, 2], [1, 3], [0, 1]], "listed: expected no row twice in a list"),
        ([[-1, 2], [1, 3], [0, 1]], r"listed: expected padding \(-1\) only at the end"),
        ([[2, 4], [1, 3], [0, 1]], "listed: expected rows from -1 to 3, got 1 to 4"),
        ([[2], [1], [0]], r"listed: expected lists of shape \(2, 2\) and integer rows, got \(2, 1\)"),
    ],
)
def test_lists_that_would_be_measured_wrongly_are_refused(
    problem: Problem, lists: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate([Listed(lists)], problem, ks=(2,))


def test_two_models_of_one_name_are_refused(problem: Problem) -> None:
    model = Listed([[2, 3], [3, 1], [0, 3]])
    with pytest.raises(ValueError, match="expected distinct names, got 'listed' twice"):
        evaluate([model, model], problem, ks=(2,))


@pytest.mark.parametrize("ks", [(), (0, 5)])
def test_list_lengths_below_one_are_refused(problem: Problem, ks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ks: expected list lengths of at least 1"):
        evaluate([], problem, ks=ks)


def test_importing_the_room_imports_nothing_heavy() -> None:
    modules = ["harness", "cold", "report", "plot", "candidates", "settings", "item_vectors", "baselines.suite"]
    imports = "; ".join(f"import training.evaluation.{module}" for module in modules)
    check = f"{imports}; import sys; print([m for m in ('tensorflow', 'implicit', 'matplotlib') if m in sys.modules])"
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    assert run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout.strip() == "[]"
