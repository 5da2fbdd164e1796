from __future__ import annotations

import numpy as np
import pytest

from training.data.dataset import Split
from training.evaluation.problem import pose, pose_cold, sample_users

from .conftest import MakeDataset, cut_split

EVENTS = [
    ("ann", 0, 5.0, 1),
    ("ann", 1, 5.0, 2),
    ("ann", 3, 2.0, 3),  # not liked
    ("bob", 1, 4.0, 4),
    ("ann", 2, 5.0, 100),  # row 2 is unknown in training
    ("ann", 1, 5.0, 101),  # again
    ("bob", 0, 4.0, 102),
    ("bob", 3, 3.0, 103),  # not liked
    ("cat", 1, 5.0, 104),  # a cold person
]


def pairs(matrix: object) -> set[tuple[int, int]]:
    coordinates = matrix.tocoo()  # type: ignore[attr-defined]
    return set(zip(coordinates.row.tolist(), coordinates.col.tolist(), strict=True))


def test_train_and_relevant_hold_the_tasks_action_on_either_side_of_the_split(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    problem = pose(dataset, cut_split(dataset), dataset.tasks[0])
    assert pairs(problem.train) == pairs(problem.excluded) == {(0, 0), (0, 1), (1, 1)}
    assert pairs(problem.relevant) == {(1, 0), (2, 1)}
    assert problem.left_out_count == 1
    assert problem.training_counts.tolist() == [1, 2, 0, 0, 0]
    assert problem.learnable.tolist() == [True] * 4 + [False] * 5
    assert len(problem.training) == 3


def test_people_without_training_are_a_group_of_their_own(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    problem = pose(dataset, cut_split(dataset), dataset.tasks[0])
    assert {name: users.tolist() for name, users in problem.groups.items()} == {"warm": [1], "cold": [2]}


def test_repeats_count_where_the_task_says_so(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5, new_items_only=False)
    problem = pose(dataset, cut_split(dataset), dataset.tasks[0])
    assert pairs(problem.relevant) == {(0, 1), (1, 0), (2, 1)}
    assert problem.excluded.nnz == 0


def test_validation_is_trained_on(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    cut = cut_split(dataset)
    validation = np.zeros(len(EVENTS), dtype=np.bool_)
    validation[0] = True
    problem = pose(dataset, Split(cut.train & ~validation, validation, cut.test), dataset.tasks[0])
    assert (0, 0) in pairs(problem.train)


def test_nothing_of_a_cold_item_may_be_learnt_and_all_of_it_is_asked(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    cold_items = np.array([False, True, False, False, False])
    problem = pose_cold(dataset, cut_split(dataset), dataset.tasks[0], cold_items)
    assert pairs(problem.train) == {(0, 0)}
    assert pairs(problem.relevant) == {(0, 1), (1, 1), (2, 1)}
    assert problem.learnable.tolist() == [True, False, True, False] + [False] * 5
    assert problem.groups["warm"].tolist() == [0]
    assert problem.groups["cold"].tolist() == [1, 2]


def test_a_task_with_nothing_to_find_is_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS[:4], 5)
    with pytest.raises(ValueError, match=r"task 'liked': expected held-out interactions of action 'liked'.*got none"):
        pose(dataset, cut_split(dataset), dataset.tasks[0])


def test_masks_of_another_length_are_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(EVENTS, 5)
    short = np.zeros(3, dtype=np.bool_)
    with pytest.raises(ValueError, match="expected a mask of 9 interactions, got shape"):
        pose(dataset, Split(short, short, short), dataset.tasks[0])
    with pytest.raises(ValueError, match="expected a mask of 5 items, got shape"):
        pose_cold(dataset, cut_split(dataset), dataset.tasks[0], short)


def test_the_sample_depends_on_the_ids_and_not_on_their_positions() -> None:
    ids = [str(number) for number in range(1, 41)]
    shuffled = np.random.default_rng(5).permutation(ids).tolist()
    everybody = np.arange(40)
    drawn = [ids[user] for user in sample_users(ids, everybody, 10)]
    assert drawn == [shuffled[user] for user in sample_users(shuffled, everybody, 10)]
    expected = np.random.default_rng(0).permutation(np.array(sorted(ids)))[:10]
    assert drawn == sorted(expected.tolist())


def test_few_people_are_all_asked() -> None:
    assert sample_users(["b", "a", "c"], np.array([0, 2, 1]), 3).tolist() == [1, 0, 2]
    assert sample_users(["b", "a"], np.array([0, 1]), None).tolist() == [1, 0]


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="user_limit: expected at least 1, got 0"):
        sample_users(["a"], np.array([0]), 0)
