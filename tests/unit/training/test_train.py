from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ranking_service.engine.features import FeatureGatherer
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from tests.unit.training.tiny_dataset import tiny_dataset
from training.errors import ExportMismatch, NothingToLearn
from training.profiles import tiny_profile
from training.publish import publish
from training.ranker import export as ranker_export
from training.ranker.candidates import make_requests, retrieve
from training.ranker.examples import make_examples
from training.ranker.lists import ListSampler
from training.ranker.scorer import RankerScorer
from training.sources import write
from training.sources.shares import Choice, choose_shares
from training.towers.user_tower import encode_users
from training.train import TrainedModels, train
from twostage.bundle.generation import Generation
from twostage.bundle.histories import histories_folder, read_histories
from twostage.bundle.id_table import IdTable
from twostage.bundle.manifest import OrdersEntry
from twostage.bundle.store import Store
from twostage.features.context import Context
from twostage.features.history import History
from twostage.features.item_encoding import ItemEncoder


@pytest.fixture(scope="module")
def models() -> TrainedModels:
    return train(tiny_dataset(), tiny_profile(), seed=3)


@pytest.fixture(scope="module")
def published(models: TrainedModels, tmp_path_factory: pytest.TempPathFactory) -> Generation:
    store = Store(tmp_path_factory.mktemp("store"))
    manifest = publish(models, store, measure=lambda _: {"liked": {"recall@20": 0.5}})
    assert store.current() == manifest.generation == 1
    return store.open(verify=("",))


def test_the_same_seed_gives_the_same_models_whatever_the_test_part_holds(models: TrainedModels) -> None:
    dataset = tiny_dataset()
    assert models.split.test.any()
    assert not (models.learnable & models.split.test).any()
    without = replace(dataset, interactions=dataset.interactions.take(~models.split.test))
    again = train(without, tiny_profile(), seed=3)
    np.testing.assert_array_equal(again.towers.item_vectors, models.towers.item_vectors)
    for mine, theirs in zip(models.ranker.model.get_weights(), again.ranker.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_candidates_are_the_nearest_items_that_the_person_does_not_have(models: TrainedModels) -> None:
    past = models.past
    users = np.array([5, 90])
    requests = make_requests(models.towers, past, users, models.dataset.actions)
    found = retrieve(requests, models.towers.item_vectors, 20)
    for person, user in enumerate(users):
        scores = models.towers.item_vectors.astype(np.float64) @ requests.user_vectors[person]
        scores[past.rows[past.users == user]] = -np.inf
        np.testing.assert_array_equal(found.rows[person], np.argsort(-scores, kind="stable")[:20])


def test_sampled_negatives_are_nothing_that_the_person_has_or_does_next(models: TrainedModels) -> None:
    interactions, split = models.dataset.interactions, models.split
    past, following = interactions.take(split.train), interactions.take(split.validation)
    examples = make_examples(models.towers, past, following, models.dataset.actions, 50, 400, seed=0)
    config = models.profile.config.ranker_training
    people = np.arange(32)
    new = np.zeros(len(models.items), np.bool_)
    new[::7] = True
    sampler = ListSampler(examples, models.towers.item_vectors, new, config)
    lists = sampler.sample(people, np.random.default_rng(0))
    positives = config.positive_count
    for person in people:
        user = examples.requests.users[person]
        own = set(past.rows[past.users == user]) | set(following.rows[following.users == user])
        counted = lists.weights[person, positives:] > 0
        assert not own & set(lists.rows[person, positives:][counted].tolist())
        assert not new[lists.rows[person, positives:][counted]].any(), "a new item is no negative"
        real = lists.weights[person, :positives] > 0
        assert set(lists.rows[person, :positives][real].tolist()) <= own
        assert not lists.labels[person, positives:].any()


def test_the_published_graph_scores_as_the_trained_model(models: TrainedModels, published: Generation) -> None:
    entry = published.manifest.ranker
    path = published.path.parent.parent / "models" / entry.model / "1"
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    past, user = models.past, 17
    mine = past.rows[past.users == user]
    codes = (1 + past.actions[past.users == user]).astype(np.int32)
    history = History(mine.astype(np.uint32), codes, past.values[past.users == user], np.zeros(len(mine), np.int64))
    requests = make_requests(models.towers, past, np.array([user]), models.dataset.actions)
    candidates = retrieve(requests, models.towers.item_vectors, 30)
    gathered = FeatureGatherer.open(published, entry).gather(
        history, Context(), candidates.rows[0].astype(np.uint32), candidates.scores[0]
    )
    answer = served(**{name: tf.constant(array) for name, array in gathered.items()})["action_scores"].numpy()
    logits = RankerScorer(models.ranker.model, models.items).logits(
        requests, np.array([0]), candidates.rows, candidates.scores
    )[0]
    np.testing.assert_allclose(answer, 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert answer.shape == (30, 3)


def test_the_published_tower_and_index_retrieve_as_training_did(models: TrainedModels, published: Generation) -> None:
    past, user = models.past, 17
    taste = (past.actions == 1) | (past.values >= 4)
    mine = past.rows[(past.users == user) & taste].astype(np.uint32)
    requests = make_requests(models.towers, past, np.array([user]), models.dataset.actions)
    engine = RetrievalEngine.open(published)
    answer = engine.retrieve(RetrievalQuery(History.of_rows(mine), 10, mine))
    scores = models.towers.item_vectors @ requests.user_vectors[0]
    scores[mine] = -np.inf
    np.testing.assert_allclose(answer.scores, np.sort(scores)[::-1][:10], atol=1e-5)


def test_the_bundle_holds_what_the_sources_read(models: TrainedModels, published: Generation) -> None:
    tower = published.manifest.tower
    assert tower.representatives is not None
    representatives = np.load(published.path / tower.representatives)
    # 150 items, one for 50.
    assert len(set(representatives.tolist())) == len(representatives) == 3
    assert tower.tags is not None
    vocabulary = IdTable.open(published.path / tower.tags / "vocabulary")
    vectors = np.load(published.path / tower.tags / "vectors.npy")
    tags = models.dataset.catalogue.columns.column("tags").to_pylist()
    assert set(vocabulary.ids(range(len(vocabulary)))) == {tag for of_item in tags for tag in of_item}
    assert vectors.shape == (len(vocabulary), tower.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert published.manifest.orders == OrdersEntry(), "nobody knows when anything happened"


def test_a_tags_vector_is_the_user_towers_answer_to_items_that_carry_it(
    models: TrainedModels, published: Generation
) -> None:
    assert published.manifest.tower.tags is not None
    folder = published.path / published.manifest.tower.tags
    row = int(IdTable.open(folder / "vocabulary").rows(["crime"])[0])
    # 25 items carry it, so that the history is all of them.
    carriers = np.array([r for r in range(150) if r % 6 == 0])
    rows, mask = np.zeros((1, 50), np.int32), np.zeros((1, 50), np.float32)
    rows[0, :25], mask[0, :25] = carriers, 1
    expected = encode_users(models.towers.user_tower, models.towers.item_vectors, rows, mask)[0]
    np.testing.assert_allclose(np.load(folder / "vectors.npy")[row], expected, atol=1e-5)


def test_shares_are_measured_and_what_was_measured_is_stated(published: Generation) -> None:
    stated = published.manifest.training["source_shares"]
    assert 0 < stated["user_vector_recall"] <= 1
    total: dict[str, float] = {}
    for step in stated["steps"]:
        total[step["source"]] = total.get(step["source"], 0) + step["share"]
    assert published.manifest.tower.source_shares == pytest.approx(total)


def test_with_times_the_bundle_lists_what_trends_and_what_is_new(
    models: TrainedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interactions = models.dataset.interactions
    times = 1_700_000_000 + np.random.default_rng(0).integers(0, 10_000_000, len(interactions))
    timed = replace(models.dataset, interactions=replace(interactions, times=times))
    asked: list[RetrievalEngine] = []

    def choose(engine: RetrievalEngine, *arguments: Any) -> Choice:
        asked.append(engine)
        return choose_shares(engine, *arguments)

    monkeypatch.setattr(write, "choose_shares", choose)
    publish(replace(models, dataset=timed), Store(tmp_path))
    taste = (interactions.actions == 1) | (interactions.values >= 4)
    before = np.bincount(interactions.rows[models.split.train & taste], minlength=150)
    np.testing.assert_array_equal(asked[0].catalogue.popularity, before)
    known_before = set(interactions.rows[models.split.train].tolist())
    assert set(asked[0].catalogue.arrival_rows.tolist()) == known_before, "shares are measured on what is not known yet"
    generation = Store(tmp_path).open(verify=("",))
    assert generation.manifest.source.has_times
    orders = generation.manifest.orders
    assert orders.trending is not None
    assert orders.arrivals is not None
    arrivals = np.load(generation.path / orders.arrivals)
    known = times[models.learnable]
    firsts = {row: known[interactions.rows[models.learnable] == row].min() for row in arrivals.tolist()}
    assert list(firsts.values()) == sorted(firsts.values(), reverse=True)
    assert set(arrivals.tolist()) == set(interactions.rows[models.learnable].tolist()), "the test part is not known"
    assert set(np.load(generation.path / orders.trending).tolist()) <= set(arrivals.tolist())


def test_histories_lie_beside_the_bundle_with_everything_known(models: TrainedModels, published: Generation) -> None:
    store = Store(published.path.parent.parent)
    people = list(read_histories(histories_folder(store, 1)))
    assert sum(len(person.item_ids) for person in people) == int(models.learnable.sum())


def test_the_published_encoding_encodes_as_training_did(models: TrainedModels, published: Generation) -> None:
    import json  # noqa: PLC0415

    document = json.loads((published.path / "retrieval/content/item_encoding.json").read_text(encoding="utf-8"))
    assert ItemEncoder.from_json(document) == models.towers.encoder


def test_the_manifest_says_which_epoch_was_kept_and_whether_times_are_known(
    models: TrainedModels, published: Generation
) -> None:
    training = published.manifest.training
    assert training["ranker_best_epoch"] == models.ranker.best_epoch
    assert 0 <= training["ranker_best_epoch"] <= training["ranker_epoch_count"] == 1
    assert not published.manifest.source.has_times


def test_nothing_is_published_when_the_graph_scores_otherwise(
    models: TrainedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranker_export, "TOLERANCE", -1.0)
    with pytest.raises(ExportMismatch, match="ranker: expected the whole model's scores"):
        publish(models, Store(tmp_path))
    assert Store(tmp_path).generations() == []
    assert not (tmp_path / "CURRENT").exists()
    # A lock file may stay.
    assert not [path for path in (tmp_path / "generations").iterdir() if path.is_dir()]


def test_a_data_set_in_which_nobody_has_two_items_is_refused() -> None:
    dataset = tiny_dataset()
    _, firsts = np.unique(dataset.interactions.users, return_index=True)
    with pytest.raises(NothingToLearn, match="at least two liked items"):
        train(replace(dataset, interactions=dataset.interactions.take(firsts)), tiny_profile())


def test_items_held_out_whole_leave_no_trace_but_have_vectors() -> None:
    dataset = tiny_dataset()
    hidden = np.arange(150) % 10 == 0
    models = train(dataset, tiny_profile(), seed=3, learnable=~hidden[dataset.interactions.rows])
    assert not np.isin(models.past.rows, np.flatnonzero(hidden)).any()
    np.testing.assert_allclose(np.linalg.norm(models.items.factors[hidden], axis=2), 1, rtol=1e-5)
    assert not any("tale 10 of" in token for token in models.towers.encoder.bag.tokens)
    np.testing.assert_allclose(np.linalg.norm(models.towers.item_vectors[hidden], axis=1), 1, rtol=1e-5)
