"""A data set of a few hundred interactions with a taste to be learnt: everyone likes two genres out of six."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from training.data.dataset import Catalogue, Dataset, Interactions, SplitKind, SplitRule, Task
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

ACTIONS = ActionSchema(
    (
        Action("rated", source="rated", taste=False, weight=0.0),
        Action("liked", source="rated", min_value=4.0),
        Action("saved", source="saved"),
    )
)

_GENRES = ("crime", "horror", "poetry", "history", "cooking", "travel")


def tiny_dataset(item_count: int = 150, user_count: int = 160, timed: bool = False, seed: int = 0) -> Dataset:
    """Makes the data set."""
    rng = np.random.default_rng(seed)
    genre = np.arange(item_count) % len(_GENRES)
    columns = pa.table(
        {
            "title": [
                f"Tale {row} of {_GENRES[genre[row]]} (Saga {row % 30}, #{row // 30})" for row in range(item_count)
            ],
            "language": [None if row % 7 == 0 else ("en", "de")[row % 2] for row in range(item_count)],
            "year": pa.array([None if row % 11 == 0 else 1950.0 + row % 60 for row in range(item_count)], pa.float64()),
            "tags": [[_GENRES[genre[row]], f"shade {row % 5}"] for row in range(item_count)],
            "cover": pa.array(
                [np.eye(8, dtype=np.float32)[genre[row]].tolist() for row in range(item_count)],
                pa.list_(pa.float32(), 8),
            ),
        }
    )
    schema = FeatureSchema(
        title="title",
        text=("title",),
        categorical=("language",),
        numeric=("year",),
        multi_valued=("tags",),
        image="cover",
    )
    users, rows, actions, values = [], [], [], []
    for user in range(user_count):
        wanted = rng.permutation(len(_GENRES))[:2]
        for row in rng.permutation(item_count)[: rng.integers(20, 40)]:
            fits = genre[row] in wanted
            if not fits and rng.random() < 0.7:
                continue
            action = int(rng.random() < 0.3)
            users.append(user)
            rows.append(row)
            actions.append(action)
            values.append(np.nan if action else (rng.integers(4, 6) if fits else rng.integers(1, 4)))
    count = len(users)
    return Dataset(
        name="tiny",
        catalogue=Catalogue([f"item-{row}" for row in range(item_count)], columns, schema),
        interactions=Interactions(
            user_ids=[f"user-{user}" for user in range(user_count)],
            recorded=("rated", "saved"),
            users=np.array(users, np.int32),
            rows=np.array(rows, np.int32),
            actions=np.array(actions, np.int16),
            values=np.array(values, np.float32),
            times=1_700_000_000 + np.sort(rng.integers(0, 10_000_000, count)) if timed else None,
        ),
        actions=ACTIONS,
        split_rule=SplitRule(SplitKind.LEAVE_LAST_OUT) if timed else SplitRule(SplitKind.HASHED),
        tasks=(Task("liked", "liked"),),
        fingerprint="0" * 64,
    )
