"""From what a gateway served and was told to a generation that learnt from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.engine.budget import Budget
from gateway.engine.request import RecommendRequest
from gateway.users.store import NewEvent
from tests.unit.training.replay.served import SECRET, world
from tests.unit.training.tiny_dataset import tiny_dataset
from training.data.dataset import Dataset, SplitKind, SplitRule
from training.data.gateway_log import add_log
from training.data.split import split
from training.profiles import tiny_profile
from training.publish import publish
from training.train import shown_before_test, train
from twostage.bundle.histories import histories_folder, read_histories
from twostage.bundle.store import Store
from twostage.features.context import Context

NEW_COUNT = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny data set, behind it a log: people of it and new ones were shown items, and wanted every third."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "key").write_bytes(SECRET)
    base = tiny_dataset(timed=True)
    known = set(base.catalogue.item_ids)
    with world(folder) as asked:
        events = asked.logs.events
        for number, user in enumerate([*base.interactions.user_ids[:30], *(f"new-{n}" for n in range(NEW_COUNT))]):
            context = Context(time_seconds=1_720_000_000 + number)
            response = asked.pipeline.recommend(RecommendRequest(user, context=context, count=30), Budget(5.0))
            shown = [item.item_id for item in response.recommendations if item.item_id in known]
            for place, item_id in enumerate(shown[::3]):
                named, at = f"{user}-{place}", 1_720_000_100 + place
                events.note([NewEvent(named, user, item_id, "saved", None, at, response.request_id)])
    return add_log(base, asked.folder, folder / "key")


def test_the_log_is_read_as_interactions_and_exposures(dataset: Dataset) -> None:
    assert dataset.logged is not None
    assert dataset.logged.user_count == NEW_COUNT
    assert dataset.logged.interaction_count >= 3 * (30 + NEW_COUNT)
    shown = dataset.logged.exposures
    assert len(np.unique(shown.users)) >= 30
    acted = set(zip(dataset.interactions.users.tolist(), dataset.interactions.rows.tolist(), strict=True))
    assert not acted & set(zip(shown.users.tolist(), shown.rows.tolist(), strict=True))


def test_a_generation_is_trained_and_published_from_it(dataset: Dataset, tmp_path: Path) -> None:
    profile = tiny_profile().with_ranker_training(shown_negative_count=4)
    models = train(dataset, profile, seed=3)
    store = Store(tmp_path / "store")
    manifest = publish(models, store)
    assert manifest.source.interaction_count == len(dataset.interactions)
    # The user store has what it told us; the histories for it are the data set's own people, and their own past alone.
    people = list(read_histories(histories_folder(store, manifest.generation)))
    assert {person.user_id for person in people} <= set(tiny_dataset().interactions.user_ids)
    assert dataset.logged is not None
    own = len(dataset.interactions) - dataset.logged.interaction_count
    assert sum(len(person.item_ids) for person in people) <= own


def test_what_was_shown_in_the_test_period_is_not_learnt_from(dataset: Dataset) -> None:
    assert dataset.logged is not None
    assert dataset.interactions.times is not None
    exposures = dataset.logged.exposures
    cut = int(np.median(dataset.interactions.times))
    days = replace(exposures, times=cut - 50 + np.arange(len(exposures.times)))
    timed = replace(
        dataset,
        split_rule=SplitRule(SplitKind.TIME_CUT, cut),
        logged=replace(dataset.logged, exposures=days),
    )
    shown = shown_before_test(timed, split(timed))
    assert shown is not None
    assert shown.rows.tolist() == exposures.rows[:50].tolist()
