"""Small data sets, made in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest

from training.data.dataset import Catalogue, Dataset, Interactions, Split, SplitKind, SplitRule, Task
from training.evaluation.problem import Problem, pose
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

Event = tuple[str, int, float, int]
"""User id, row, stars, time in Unix seconds."""
MakeDataset = Callable[..., Dataset]
MakeProblem = Callable[..., Problem]


def _dataset(events: Sequence[Event], item_count: int, *, new_items_only: bool = True, timed: bool = True) -> Dataset:
    user_ids = list(dict.fromkeys(event[0] for event in events))
    columns = pa.table(
        {
            "title": [f"Item {row}" for row in range(item_count)],
            "genre": ["odd" if row % 2 else "even" for row in range(item_count)],
            "tags": [[f"t{row % 3}", "all"] for row in range(item_count)],
        }
    )
    return Dataset(
        name="made",
        catalogue=Catalogue(
            [f"i{row}" for row in range(item_count)],
            columns,
            FeatureSchema(title="title", text=("title",), categorical=("genre",), multi_valued=("tags",)),
        ),
        interactions=Interactions(
            user_ids=user_ids,
            recorded=("rated",),
            users=np.array([user_ids.index(event[0]) for event in events], dtype=np.int32),
            rows=np.array([event[1] for event in events], dtype=np.int32),
            actions=np.zeros(len(events), dtype=np.int16),
            values=np.array([event[2] for event in events], dtype=np.float32),
            times=np.array([event[3] for event in events], dtype=np.int64) if timed else None,
        ),
        actions=ActionSchema((Action("liked", source="rated", min_value=4.0),)),
        split_rule=SplitRule(SplitKind.TIME_CUT, cut=100),
        tasks=(Task("liked", "liked", new_items_only=new_items_only),),
        fingerprint="0" * 64,
    )


def cut_split(dataset: Dataset, cut: int = 100) -> Split:
    """Everything from second ``cut`` on is test; nothing is validation."""
    times = dataset.interactions.times
    assert times is not None
    test = times >= cut
    return Split(train=~test, validation=np.zeros(len(test), dtype=np.bool_), test=test)


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Makes a data set from events."""
    return _dataset


@pytest.fixture
def make_problem() -> MakeProblem:
    """Makes a problem from a dense 0/1 matrix of training pairs and one of test pairs."""

    def make(train: Sequence[Sequence[int]], test: Sequence[Sequence[int]], *, new_items_only: bool = True) -> Problem:
        events: list[Event] = []
        for seconds, matrix in ((0, train), (100, test)):
            for user, cells in enumerate(matrix):
                # A cell's number is how often the pair occurs.
                events += [(f"u{user}", row, 5.0, seconds) for row, times in enumerate(cells) for _ in range(times)]
        # Everybody gets a position, also who only occurs in the test.
        events = [(f"u{user}", 0, 1.0, 0) for user in range(len(train))] + events
        dataset = _dataset(events, len(train[0]), new_items_only=new_items_only)
        return pose(dataset, cut_split(dataset), dataset.tasks[0])

    return make


@pytest.fixture
def random_problem(make_problem: MakeProblem) -> Problem:
    """A hundred people, forty items, four groups of taste."""
    rng = np.random.default_rng(7)
    people, items = np.arange(100) % 4, np.arange(40) % 4
    drawn = rng.random((100, 40)) < np.where(people[:, None] == items[None, :], 0.6, 0.08)
    test = drawn & (rng.random(drawn.shape) < 0.25)
    return make_problem((drawn & ~test).astype(int).tolist(), test.astype(int).tolist())
