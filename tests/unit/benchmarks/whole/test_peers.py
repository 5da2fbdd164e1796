"""The peers' pipelines against the engines that serve, over one tiny bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.whole.peers.bundle_files import BundleFiles, Person
from benchmarks.whole.peers.models import Retriever, history_inputs
from benchmarks.whole.peers.people import People
from benchmarks.whole.peers.tutorial import TutorialPipeline
from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.query import RankingQuery
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from tests.bundles import RANKER, make_store
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.features.actions import Action, ActionSchema
from twostage.features.context import Context
from twostage.features.history import History, pack_history, pad_history

NOW = 1_700_100_000
ITEMS = 700


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("peers") / "store", item_count=ITEMS, user_count=12, with_models=True)


@pytest.fixture(name="files", scope="module")
def _files(store: Store) -> BundleFiles:
    return BundleFiles(store.path)


def test_histories_and_ids_read_from_the_files_are_those_of_the_bundle(store: Store, files: BundleFiles) -> None:
    ids = store.open().ids
    assert files.row_of() == {ids[row]: row for row in range(ITEMS)}
    people = files.people()
    recorded = store.open().manifest.recorded_actions
    for person in known_people(store, limit=100):
        own = people[person.user_id]
        assert [ids[row] for row in own.rows] == person.item_ids
        assert [recorded[code] for code in own.actions] == person.actions
        np.testing.assert_array_equal(own.values, person.values)
        assert own.times == person.times


def test_the_peers_recommend_what_the_engines_do(store: Store, files: BundleFiles) -> None:
    from training.saved_model_scorer import SavedModelScorer  # noqa: PLC0415 - TensorFlow

    generation = store.open()
    retrieval, ranking = RetrievalEngine.open(generation), RankingEngine.open(generation)
    scorer = SavedModelScorer({RANKER: store.models_path / RANKER / "1"})
    tutorial = TutorialPipeline(store.path, files.ranker_model)
    codes = ranking.action_codes
    compared = 0
    for person in known_people(store, limit=100):
        _, taste = tutorial.people.find(person.user_id)
        if not taste:
            continue
        pairs = zip(person.actions, person.values, strict=True)
        schema = generation.manifest.action_schema
        assert taste == [position for position, pair in enumerate(pairs) if schema.is_taste(*pair)]
        history = History(
            rows=generation.ids.rows(person.item_ids)[taste].astype(np.uint32),
            actions=np.array([codes[person.actions[position]] for position in taste], np.int32),
            values=np.array(person.values, np.float32)[taste],
            times=np.array(person.times)[taste],
        )
        seen = generation.ids.rows(person.item_ids).astype(np.uint32)
        candidates = retrieval.retrieve(RetrievalQuery(history, 500, seen))
        rows, scores = tutorial.candidates(person.user_id)
        assert rows.tolist() == candidates.rows.tolist()
        np.testing.assert_allclose(scores, candidates.scores, atol=1e-5)
        query = RankingQuery(history, Context(time_seconds=NOW), candidates.rows, candidates.scores, 20)
        expected = ranking.rank(query, scorer, 30.0).rows.tolist()
        assert tutorial.recommend(person.user_id, 20, now_seconds=NOW) == expected
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("now", [0, NOW])
def test_a_history_is_padded_as_for_the_ranking_service(files: BundleFiles, now: int) -> None:
    for user_id, own in files.people().items():
        # So often that some are longer than what is read.
        person = Person(own.rows * 12, own.actions * 12, own.values * 12, own.times * 12)
        taste = list(range(len(person.rows)))
        history = History(
            rows=np.array(person.rows, np.uint32),
            actions=np.array([1 + code for code in person.actions], np.int32),
            values=np.array(person.values, np.float32),
            times=np.array(person.times, np.int64),
        )
        padded, (codes, numbers) = pad_history(history, now), pack_history(history, now)
        received = history_inputs(person, taste, 50, now)
        for name, expected in (
            ("history_codes", codes),
            ("history_numbers", numbers),
            ("history_mask", padded.mask),
            ("history_actions", padded.actions),
            ("history_values", padded.values),
            ("history_ages_days", padded.ages_days),
        ):
            np.testing.assert_allclose(received[name], expected, rtol=1e-6, err_msg=f"{name} of {user_id}")
            assert received[name].dtype == expected.dtype


def test_an_event_is_seen_and_tasted_at_once(files: BundleFiles) -> None:
    people = People(files)
    person, taste = people.find("user-1")
    before = list(taste)
    people.record("user-1", files.ids[5], "to_read")
    person, taste = people.find("user-1")
    assert len(taste) == len(before) + 1
    rows, _ = people.unseen(person, np.arange(10), np.zeros(10, np.float32))
    assert 5 not in rows


def test_a_filter_lets_through_the_items_with_the_value(store: Store, files: BundleFiles) -> None:
    column = store.open().attributes.column("tags")
    expected = [row for row in range(ITEMS) if "crime" in column.values_of(row)]  # type: ignore[union-attr]
    person, _ = People(files).find("nobody")
    rows, _ = People(files).unseen(
        person, np.arange(ITEMS), np.zeros(ITEMS, np.float32), {"attribute": "tags", "value": "crime"}
    )
    assert rows.tolist() == expected[:500]


def test_nobody_finds_fewer_than_there_are(files: BundleFiles) -> None:
    rows, scores = Retriever(files).retrieve(files.people()["user-0"].rows, 10 * ITEMS)
    assert sorted(rows.tolist()) == list(range(ITEMS))
    assert (np.diff(scores) <= 0).all()


def test_the_pairwise_model_scores_as_the_ranker_does(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415 - the other tests do without

    from benchmarks.whole.pairwise import export_pairwise  # noqa: PLC0415 - as above
    from training.config import RankerConfig  # noqa: PLC0415 - as above
    from training.ranker.families.ranker import UserBatch  # noqa: PLC0415 - as above
    from training.ranker.families.registry import build_ranker  # noqa: PLC0415 - as above

    config = RankerConfig(user_sizes=(8,), item_sizes=(8,), head_sizes=(8,), attention_size=4, factor_size=3)
    actions = ActionSchema((Action("liked", "rated", 4.0), Action("saved", "saved")))
    model = build_ranker("content", config, actions, 6, 5)
    random = np.random.default_rng(0)
    fed = {
        "history_features": random.normal(size=(1, 50, model.history_size)).astype(np.float32),
        "history_mask": (np.arange(50) < 9).astype(np.float32)[None],
        "history_actions": random.integers(0, 3, (1, 50)).astype(np.int32),
        "history_values": random.random((1, 50)).astype(np.float32),
        "history_ages_days": random.random((1, 50)).astype(np.float32),
        "context": random.random((1, 6)).astype(np.float32),
        "candidate_features": random.normal(size=(7, model.candidate_size)).astype(np.float32),
        "retrieval_scores": random.random(7).astype(np.float32),
    }
    *of_person, rows, scores = (tf.constant(array) for array in fed.values())
    expected = tf.nn.sigmoid(model.score(model.encode_user(UserBatch(*of_person)).single(), rows, scores)).numpy()
    export_pairwise(model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    received = loaded.signatures["serving_default"](**{name: tf.constant(array) for name, array in fed.items()})
    np.testing.assert_allclose(received["action_scores"].numpy(), expected, atol=1e-5)
    assert np.ptp(expected) > 0
