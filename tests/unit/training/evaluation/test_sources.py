from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from retrieval_service.engine.engine import RetrievalEngine
from tests.bundles import TinyCatalogue, make_catalogue, make_store
from training.data.dataset import Catalogue, Dataset, Interactions, Split, SplitKind, SplitRule, Task
from training.evaluation.problem import Problem, pose
from training.evaluation.report import source_tables, sources_as_manifest
from training.evaluation.sources import MIX, SourceRecall, TagCounts, measure_sources
from training.evaluation.stages import People, people_of
from twostage.bundle.generation import Generation
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

_COUNT = 30
_PEOPLE = 40


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    return make_store(tmp_path_factory.mktemp("store") / "store").open()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """People who stay in the cluster that they know; the last ten know nothing."""
    items: TinyCatalogue = make_catalogue()
    rng = np.random.default_rng(0)
    users, rows, held_out = [], [], []
    for user in range(_PEOPLE):
        mine = rng.permutation(np.flatnonzero(items.clusters == user % 8))[:14]
        for position, row in enumerate(mine.tolist()):
            if position >= 9 or user < _PEOPLE - 10:
                users.append(user)
                rows.append(row)
                held_out.append(position >= 9)
    # Somebody knows every item, so that each can be asked for.
    users += [_PEOPLE] * 200
    rows += list(range(200))
    held_out += [False] * 200
    return Dataset(
        name="made",
        catalogue=Catalogue(
            items.item_ids,
            pa.table({"title": items.titles, "tags": items.tags}),
            FeatureSchema(title="title", text=("title",), multi_valued=("tags",)),
        ),
        interactions=Interactions(
            user_ids=[f"u{user}" for user in range(_PEOPLE + 1)],
            recorded=("liked",),
            users=np.array(users, np.int32),
            rows=np.array(rows, np.int32),
            actions=np.zeros(len(users), np.int16),
            values=np.full(len(users), np.nan, np.float32),
            times=np.array(held_out, np.int64),
        ),
        actions=ActionSchema((Action("liked", source="liked"),)),
        split_rule=SplitRule(SplitKind.TIME_CUT, cut=1),
        tasks=(Task("liked", "liked"),),
        fingerprint="0" * 64,
    )


@pytest.fixture(scope="module")
def problem(dataset: Dataset) -> Problem:
    assert dataset.interactions.times is not None
    test = dataset.interactions.times == 1
    return pose(dataset, Split(train=~test, validation=np.zeros(len(test), np.bool_), test=test), dataset.tasks[0])


@pytest.fixture(scope="module")
def people(dataset: Dataset, problem: Problem) -> People:
    return people_of(problem, dataset.interactions, dataset.actions)


@pytest.fixture(scope="module")
def measured(generation: Generation, dataset: Dataset, problem: Problem, people: People) -> list[SourceRecall]:
    return measure_sources(
        RetrievalEngine.open(generation),
        dataset.catalogue,
        problem,
        people,
        dataset.interactions.user_ids,
        count=_COUNT,
        resample_count=50,
    )


def test_the_recall_of_a_source_is_that_of_lists_made_by_brute_force(
    generation: Generation, measured: list[SourceRecall], problem: Problem, people: People
) -> None:
    engine, items = RetrievalEngine.open(generation), make_catalogue()
    by_vector: list[float] = []
    by_popularity: list[float] = []
    for user in problem.groups["warm"].tolist():
        relevant = set(problem.relevant[[user]].indices.tolist())
        seen = people.seen(user)
        vector = engine.user_vector(people.history(user))
        assert vector is not None
        for scores, found in ((items.vectors @ vector, by_vector), (items.popularity.copy(), by_popularity)):
            scores[seen] = -np.inf
            top = np.argsort(-scores, kind="stable")[:_COUNT].tolist()
            found.append(len(relevant.intersection(top)) / len(relevant))
    means = {(entry.group, entry.source): entry.recall.mean for entry in measured}
    assert means["warm", "user_vector"] == pytest.approx(np.mean(by_vector))
    assert means["warm", "popular"] == pytest.approx(np.mean(by_popularity))
    assert means["warm", "user_vector"] > means["warm", "popular"]


def test_every_group_is_measured_with_the_mix_and_only_by_sources_that_bring_something(
    measured: list[SourceRecall], problem: Problem
) -> None:
    groups = {entry.group for entry in measured}
    assert groups == {"warm", "cold", "interests only"}
    assert all(any(entry.group == group and entry.source == MIX for entry in measured) for group in groups)
    cold = {entry.source for entry in measured if entry.group == "cold"}
    assert "popular" in cold
    assert not cold & {"user_vector", "interest_vectors", "neighbours", "interest_tags"}
    assert {entry.people_count for entry in measured if entry.group == "cold"} == {len(problem.groups["cold"])}


def test_without_shares_the_mix_is_the_user_vectors_alone(measured: list[SourceRecall]) -> None:
    warm = {entry.source: entry for entry in measured if entry.group == "warm"}
    assert warm["user_vector"].part == 1
    assert warm["popular"].part == 0
    assert warm[MIX].recall == warm["user_vector"].recall


def test_people_with_interests_only_find_what_carries_them(measured: list[SourceRecall]) -> None:
    interests = {entry.source: entry.recall.mean for entry in measured if entry.group == "interests only"}
    assert interests[MIX] == interests["interest_tags"] > interests["popular"]
    assert "user_vector" not in interests


def test_the_most_people_asked_are_those_allowed(
    generation: Generation, dataset: Dataset, problem: Problem, people: People
) -> None:
    few = measure_sources(
        RetrievalEngine.open(generation),
        dataset.catalogue,
        problem,
        people,
        dataset.interactions.user_ids,
        user_limit=5,
        count=10_000,
        resample_count=0,
    )
    assert {entry.people_count for entry in few} == {5}
    # No more candidates than there are items.
    assert {entry.candidate_count for entry in few} == {200}


def test_a_tag_that_nearly_everything_carries_says_little_of_a_person() -> None:
    tags = [["all", "sea"]] * 3 + [["all", "land"]] * 5 + [["all"]] * 10 + [["sea", "once"]]
    catalogue = Catalogue(
        [str(row) for row in range(len(tags))],
        pa.table({"title": [""] * len(tags), "tags": tags}),
        FeatureSchema(title="title", text=("title",), multi_valued=("tags",)),
    )
    # all: 3 ln(19/18) = 0.16; sea: 3 ln(19/4) = 4.7; land: ln(19/5) = 1.3; once: one item alone carries it.
    assert TagCounts(catalogue).characteristic(np.array([0, 1, 3, 18])) == ("sea", "land", "all")
    assert TagCounts(catalogue).characteristic(np.array([], np.int64)) == ()


def test_tables_and_manifest_state_every_source(measured: list[SourceRecall], tmp_path: Path) -> None:
    plain = sources_as_manifest(measured)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert len(plain) == len(measured)
    with (tmp_path / "out").open("w") as out:
        for table in source_tables(measured):
            Console(file=out, width=200).print(table)
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert all(entry.source in text and entry.group in text for entry in measured)
