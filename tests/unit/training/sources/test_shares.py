from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.interests import interest_groups
from retrieval_service.engine.query import RetrievalQuery
from tests.bundles import make_store
from tests.unit.training.tiny_dataset import tiny_dataset
from training.config import SharesConfig
from training.data.split import split
from training.sources.shares import Asker, choose_shares, draw_askers
from twostage.bundle.arrays import write_array
from twostage.bundle.manifest import OrdersEntry, read_manifest
from twostage.candidates.source import Source
from twostage.features.history import History

_COUNT = 40
_ITEMS = 200
_TRENDING = np.random.default_rng(5).permutation(_ITEMS)[:60].astype(np.uint32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_store(tmp_path_factory.mktemp("store") / "store", item_count=_ITEMS).open().path
    write_array(folder / "items/trending_rows.npy", _TRENDING)
    return folder


def _open(folder: Path, shares: Mapping[Source, float]) -> RetrievalEngine:
    tower = read_manifest(folder).tower
    stated = {(source.name or "").lower(): share for source, share in shares.items()}
    return RetrievalEngine.open_folder(
        folder,
        tower.model_copy(update={"source_shares": stated}),
        attributes={},
        item_count=_ITEMS,
        orders=OrdersEntry(trending="items/trending_rows.npy"),
    )


def _found(engine: RetrievalEngine, asker: Asker, count: int) -> NDArray[np.uint32]:
    return engine.retrieve(RetrievalQuery(History.of_rows(asker.history_rows), count, asker.seen_rows)).rows


def _recall(engine: RetrievalEngine, askers: list[Asker]) -> float:
    """Through the door that serving goes through."""
    return float(
        np.mean([len({*_found(engine, a, _COUNT)} & {*a.relevant_rows}) / len(a.relevant_rows) for a in askers])
    )


def _askers(folder: Path, *, wanting: str, count: int = 60) -> list[Asker]:
    """People who next want what is trending, or what lies nearest to their user vector."""
    rng, engine = np.random.default_rng(0), _open(folder, {})
    askers = []
    for _ in range(count):
        history = rng.permutation(_ITEMS)[:12].astype(np.uint32)
        asker = Asker(history, np.unique(history), np.empty(0, np.uint32))
        pool = np.setdiff1d(_TRENDING[:20], history) if wanting == "trending" else _found(engine, asker, _COUNT)
        askers.append(Asker(history, asker.seen_rows, rng.permutation(pool)[:5].astype(np.uint32)))
    return askers


def test_a_source_that_finds_what_people_did_next_gets_a_share(folder: Path) -> None:
    askers = _askers(folder, wanting="trending")
    choice = choose_shares(_open(folder, {}), askers, _COUNT, SharesConfig())
    assert set(choice.shares) == {Source.TRENDING}
    assert choice.user_vector_recall == pytest.approx(_recall(_open(folder, {}), askers))
    assert choice.recall > choice.user_vector_recall + 0.2


def test_the_recall_stated_is_that_of_serving_with_the_shares(folder: Path) -> None:
    askers = _askers(folder, wanting="trending", count=30) + _askers(folder, wanting="near", count=30)
    choice = choose_shares(_open(folder, {}), askers, _COUNT, SharesConfig(steps=(0.1,), most=0.4, least_errors=-100))
    assert len(choice.steps) == 4
    assert choice.recall == pytest.approx(_recall(_open(folder, choice.shares), askers))
    assert sum(choice.shares.values()) == pytest.approx(0.4)
    gains = sum(step.gain for step in choice.steps)
    assert choice.recall == pytest.approx(choice.user_vector_recall + gains)


@pytest.mark.parametrize("price", [0.0, 0.002, 0.5])
def test_each_step_takes_the_source_with_the_highest_recall_less_its_searches(folder: Path, price: float) -> None:
    askers = _askers(folder, wanting="trending", count=30) + _askers(folder, wanting="near", count=30)
    config = SharesConfig(steps=(0.2,), most=0.2, search_price=price, least_errors=-100)
    choice = choose_shares(_open(folder, {}), askers, _COUNT, config)
    sources = (Source.INTEREST_VECTORS, Source.NEIGHBOURS, Source.TRENDING, Source.NEW, Source.POPULAR)
    recalls = {source: _recall(_open(folder, {source: 0.2}), askers) for source in sources}
    # Everybody has 12 different items, and neighbours are of the newest 8.
    searches = {Source.INTEREST_VECTORS: _interest_count(folder, askers), Source.NEIGHBOURS: 8.0}
    best = max(recalls, key=lambda source: recalls[source] - price * searches.get(source, 0.0))
    assert choice.steps[0].source is best
    assert choice.steps[0].recall == pytest.approx(recalls[best])
    assert choice.steps[0].search_count == pytest.approx(searches.get(best, 0.0))


def _interest_count(folder: Path, askers: list[Asker]) -> float:
    vectors = _open(folder, {}).catalogue.vectors
    return float(np.mean([len(interest_groups(vectors[asker.history_rows])) for asker in askers]))


def test_a_gain_that_its_searches_eat_up_is_none(folder: Path) -> None:
    """What people want next lies nearest to the oldest of their newest items, which the user vector hardly sees."""
    engine = _open(folder, {})
    askers = []
    for asker in _askers(folder, wanting="near"):
        asked = RetrievalQuery(
            History.of_rows(asker.history_rows[-8:-7]), 10, asker.seen_rows, quotas={Source.NEIGHBOURS: 10}
        )
        near = engine.retrieve(asked)
        askers.append(replace(asker, relevant_rows=near.rows[near.sources & Source.NEIGHBOURS > 0][:5]))
    config = SharesConfig(steps=(0.5,), most=0.5)
    free = choose_shares(engine, askers, _COUNT, replace(config, search_price=0.0))
    dear = choose_shares(engine, askers, _COUNT, replace(config, search_price=0.1))
    assert free.steps[0].source is Source.NEIGHBOURS
    assert free.steps[0].search_count == 8
    assert 0 < free.steps[0].gain < 0.8
    assert Source.NEIGHBOURS not in dear.shares


def test_nobody_gets_a_share_where_the_user_vector_finds_everything(folder: Path) -> None:
    choice = choose_shares(_open(folder, {}), _askers(folder, wanting="near"), _COUNT, SharesConfig())
    assert choice.shares == {}
    assert choice.recall == choice.user_vector_recall == 1
    assert choice.as_manifest() == {"user_vector_recall": 1.0, "steps": []}


def test_the_sources_get_no_more_than_they_may_have(folder: Path) -> None:
    askers = _askers(folder, wanting="trending")
    choice = choose_shares(_open(folder, {}), askers, _COUNT, SharesConfig(most=0.2, least_errors=-100))
    assert sum(choice.shares.values()) == pytest.approx(0.2)


def test_without_people_nothing_is_measured_and_nothing_shared(folder: Path) -> None:
    choice = choose_shares(_open(folder, {}), [], _COUNT, SharesConfig())
    assert choice.shares == {}
    assert math.isnan(choice.recall)
    assert choice.as_manifest() == {"user_vector_recall": None, "steps": []}


def test_people_who_are_asked_know_nothing_of_what_they_are_asked_for() -> None:
    dataset = tiny_dataset(timed=True)
    interactions, parts = dataset.interactions, split(dataset)
    past, following = interactions.take(parts.train), interactions.take(parts.validation)
    askers = draw_askers(past, following, dataset.actions, 1000, seed=0)
    expected = []
    for user in range(len(interactions.user_ids)):
        mine = past.users == user
        liked = mine & ((past.actions == 1) | (past.values >= 4))
        later = (following.users == user) & ((following.actions == 1) | (following.values >= 4))
        assert past.times is not None
        history = past.rows[liked][np.argsort(past.times[liked], kind="stable")].tolist()
        relevant = set(following.rows[later].tolist()) - set(past.rows[mine].tolist())
        if history and relevant:
            expected.append((history, set(past.rows[mine].tolist()), relevant))
    found = [(a.history_rows.tolist(), set(a.seen_rows.tolist()), set(a.relevant_rows.tolist())) for a in askers]
    assert sorted(found, key=lambda entry: entry[0]) == sorted(expected, key=lambda entry: entry[0])
    assert len(draw_askers(past, following, dataset.actions, 7, seed=0)) == 7
