"""Several rankers in one generation: trained on the same people, exported, measured and served by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import GoldenMismatch, ModelAnswerInvalid
from ranking_service.engine.golden import check_golden, read_golden
from ranking_service.engine.query import RankingQuery
from ranking_service.engine.scorer import Scorer
from retrieval_service.engine.engine import RetrievalEngine
from tests.unit.training.tiny_dataset import tiny_dataset
from training.commands.evaluate import show
from training.errors import RankerNotFinite, RankersInvalid
from training.evaluation.offline import EvaluationPlan, OfflineEvaluation, evaluate_generation, ranker_titles
from training.evaluation.stages import Stages
from training.profiles import tiny_profile
from training.progress import Silent
from training.publish import publish
from training.ranker.candidates import make_requests, retrieve
from training.ranker.scorer import RankerScorer
from training.saved_model_scorer import SavedModelScorer, saved_model_scorer
from training.train import TrainedModels, train
from twostage.bundle.generation import Generation
from twostage.bundle.histories import histories_folder, read_histories
from twostage.bundle.open_store import open_store
from twostage.bundle.store import Store
from twostage.features.context import Context
from twostage.features.history import History

NAMES = ("neumf", "content")
PLAN = EvaluationPlan(baselines="none", user_limit=40, ks=(10, 20), resample_count=50)


@pytest.fixture(scope="module")
def models() -> TrainedModels:
    return train(tiny_dataset(), tiny_profile(), seed=3, rankers=NAMES)


@pytest.fixture(scope="module")
def published(models: TrainedModels, tmp_path_factory: pytest.TempPathFactory) -> Generation:
    store = Store(tmp_path_factory.mktemp("store"))
    publish(models, store)
    return store.open(verify=("",))


@pytest.fixture(scope="module")
def stages(published: Generation) -> Stages:
    scorer = saved_model_scorer(published.path.parent.parent, 1, published.manifest.rankers)
    return Stages(RetrievalEngine.open(published), RankingEngine.open(published), scorer)


@pytest.fixture(scope="module")
def evaluation(models: TrainedModels, stages: Stages) -> OfflineEvaluation:
    return evaluate_generation(models.dataset, models.split, stages, PLAN)


def test_the_first_named_ranker_is_the_default_and_each_has_its_model(published: Generation) -> None:
    manifest = published.manifest
    assert tuple(manifest.rankers) == NAMES
    assert manifest.default_ranker == "neumf"
    for name in NAMES:
        assert manifest.rankers[name].model == name
        assert f"models/{name}/1/saved_model.pb" in manifest.model_files
        assert f"ranking/{name}/candidate_table.npy" in manifest.files


def test_rankers_with_one_history_table_share_its_file(published: Generation) -> None:
    tables = {entry.history_table for entry in published.manifest.rankers.values()}
    assert tables == {"ranking/neumf/history_table.npy"}
    assert [path for path in published.manifest.files if path.endswith("history_table.npy")] == list(tables)


def test_the_manifest_tells_of_each_rankers_training(models: TrainedModels, published: Generation) -> None:
    training = published.manifest.training
    assert list(training["rankers"]) == list(NAMES)
    for name in NAMES:
        assert training["rankers"][name]["best_epoch"] == models.rankers[name].best_epoch
        assert training["rankers"][name]["seconds"] > 0
    # What was there before there were several is of the default one.
    assert training["ranker_best_epoch"] == models.rankers["neumf"].best_epoch
    assert training["ranker_epoch_count"] == training["rankers"]["neumf"]["epoch_count"]


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_ranks_as_the_trained_ranker_of_that_name(models: TrainedModels, stages: Stages, name: str) -> None:
    past, user = models.past, 17
    mine = past.users == user
    history = History(
        past.rows[mine].astype(np.uint32),
        (1 + past.actions[mine]).astype(np.int32),
        past.values[mine],
        np.zeros(int(mine.sum()), np.int64),
    )
    requests = make_requests(models.towers, past, np.array([user]), models.dataset.actions)
    candidates = retrieve(requests, models.towers.item_vectors, 30)
    query = RankingQuery(history, Context(), candidates.rows[0].astype(np.uint32), candidates.scores[0], 30, name)
    items = stages.ranking.rank(query, stages.scorer, 10.0)
    logits = RankerScorer(models.rankers[name].model, models.items).logits(
        requests, np.array([0]), candidates.rows, candidates.scores
    )[0]
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(items.action_scores, expected[items.candidate_indices], atol=1e-5)


def test_the_bundle_tells_what_the_history_did_for_a_score(models: TrainedModels, stages: Stages) -> None:
    ranker = stages.ranking.ranker("neumf")
    assert isinstance(stages.scorer, SavedModelScorer)
    history = History.of_rows(np.array([3, 8], np.uint32))
    candidates = np.arange(20, 30, dtype=np.uint32)
    inputs = ranker.gatherer.gather(history, Context(), candidates, np.linspace(0.5, 0.1, 10, dtype=np.float32))
    effects = stages.scorer.history_effects("neumf", 1, inputs, 10.0)
    assert effects is not None
    assert effects.shape == (10, 50, len(models.dataset.actions.names))
    assert np.isfinite(effects).all()
    entries = np.abs(effects).sum(axis=(0, 2)) > 0
    assert entries.sum() == 2, "what is no entry has no effect"


def test_every_ranker_has_golden_answers_and_still_gives_them(published: Generation, stages: Stages) -> None:
    golden = read_golden(published.path)
    assert golden is not None
    # The default one's answers read as they did when there was one ranker.
    assert [answer.ranker for answer in golden.answers[:12]] == [""] * 8 + ["content"] * 4
    assert golden.answers[8].history_rows == []
    assert golden.answers[9].history_rows != []
    # The blend gives ratings no weight, so they are asked for alone.
    assert [(answer.ranker, answer.blend) for answer in golden.answers[12:]] == [
        (name, {"rated": 1.0}) for name in NAMES
    ]
    assert check_golden(stages.ranking, stages.scorer) == 14


class _Tampered:
    """The published models, of which one answers an action otherwise."""

    def __init__(self, scorer: Scorer, model: str, action: int, factor: float) -> None:
        self._scorer, self._model, self._action, self._factor = scorer, model, action, factor

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        answer = self._scorer.score(model, version, inputs, timeout_seconds).copy()
        if model == self._model:
            answer[:, self._action] *= self._factor
        return answer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("action", range(3))
def test_a_model_that_answers_any_action_otherwise_fails_its_golden_answers(
    stages: Stages, name: str, action: int
) -> None:
    with pytest.raises(GoldenMismatch):
        check_golden(stages.ranking, _Tampered(stages.scorer, name, action, 0.9))


def test_rankers_are_measured_on_the_same_candidates(models: TrainedModels, evaluation: OfflineEvaluation) -> None:
    names = [result.model for result in evaluation.results]
    assert names == ["retrieval", "retrieval + neumf", "retrieval + content"]
    of_retrieval, *of_rankers = evaluation.results
    assert of_retrieval.fit_seconds is None
    for name, result in zip(NAMES, of_rankers, strict=True):
        assert result.fit_seconds == pytest.approx(models.rankers[name].seconds, abs=0.01)
        # There are fewer items than candidates, so that no order can change what is found in all of them.
        assert result.people_count == of_retrieval.people_count
    stated = json.loads(json.dumps(evaluation.as_manifest(), allow_nan=False))
    assert stated["candidates"] == stated["rankers"]["neumf"]["candidates"]
    assert stated["rankers"]["content"]["candidates"]["liked"] != stated["candidates"]["liked"]


def test_every_action_is_calibrated_apart(models: TrainedModels, evaluation: OfflineEvaluation) -> None:
    test = models.dataset.interactions.take(models.split.test)
    for name in NAMES:
        calibration = evaluation.rankers[name].calibration
        assert list(calibration) == list(models.dataset.actions.names)
        counts = {int(each.counts.sum()) for each in calibration.values()}
        assert len(counts) == 1, "all actions are measured over the same candidates"
        rated, liked, saved = (calibration[action].mean_done for action in ("rated", "liked", "saved"))
        assert rated > liked > 0, "who likes has rated"
        assert saved > 0
        assert 0 <= calibration["rated"].expected_calibration_error < 0.5
    # All test items are candidates, for the catalogue is small: of 40 people, what they did is found.
    done = calibration["rated"].mean_done * counts.pop()
    assert done == pytest.approx(round(done), abs=1e-6)
    assert done <= int((test.actions == 0).sum())


def test_some_rankers_can_be_asked_for(models: TrainedModels, stages: Stages) -> None:
    plan = replace(PLAN, rankers=("content",))
    evaluation = evaluate_generation(models.dataset, models.split, stages, plan)
    assert [result.model for result in evaluation.results] == ["retrieval", "retrieval + content"]
    assert list(evaluation.rankers) == ["content"]


def test_a_task_with_nothing_to_find_is_left_out_and_told_of(
    models: TrainedModels, stages: Stages, tmp_path: Path
) -> None:
    class Notes(Silent):
        lines: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.lines.append(text)

    nothing = replace(models.split, test=np.zeros_like(models.split.test))
    evaluation = evaluate_generation(models.dataset, nothing, stages, PLAN, Notes())
    told = "not measured: task 'liked': expected held-out interactions of action 'liked' with known items, got none"
    assert told in Notes.lines
    assert evaluation.results == []
    json.dumps(evaluation.as_manifest(), allow_nan=False)
    show(evaluation, Console(record=True), tmp_path / "measures.png", tmp_path / "reliability.png")
    assert not (tmp_path / "measures.png").exists()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("dcn_v2",), "expected names among this generation's neumf, content, got 'dcn_v2'"),
        (("content", "content"), "expected each name once, got 'content' 2 times"),
        ((), "expected at least one of neumf, content, got none"),
    ],
)
def test_rankers_that_cannot_be_measured_are_refused(stages: Stages, wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(RankersInvalid, match=message):
        ranker_titles(stages, wanted)


def test_what_was_measured_is_shown_and_drawn(evaluation: OfflineEvaluation, tmp_path: Path) -> None:
    console = Console(record=True, width=160)
    show(evaluation, console, tmp_path / "measures.png", tmp_path / "reliability.png")
    text = console.export_text()
    assert "retrieval + neumf" in text
    assert "ECE" in text
    for name in ("measures.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_generation_behind_a_url_is_whole_for_who_fetches_it(models: TrainedModels, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    publish(models, open_store(url, cache=tmp_path / "mine"))
    store = open_store(url, cache=tmp_path / "theirs")
    assert store.current() == 1
    store.fetch(1)
    store.fetch_histories(1)
    generation = store.open(1, verify=("",))
    scorer = saved_model_scorer(store.path, 1, generation.manifest.rankers)
    assert check_golden(RankingEngine.open(generation), scorer) == 14
    assert len(list(read_histories(histories_folder(store, 1)))) > 100


def test_a_ranker_with_weights_that_are_no_numbers_is_never_published(models: TrainedModels, tmp_path: Path) -> None:
    trained = models.rankers["content"]
    before = trained.model.get_weights()
    trained.model.shift.assign(np.full(3, np.nan, np.float32))
    try:
        with pytest.raises(RankerNotFinite, match="ranker content: expected finite weights"):
            publish(models, Store(tmp_path))
    finally:
        trained.model.set_weights(before)
    assert Store(tmp_path).generations() == []


def test_a_model_that_is_not_there_is_named(published: Generation) -> None:
    entry = published.manifest.rankers["content"]
    scorer = SavedModelScorer({"content": published.path.parent.parent / "models" / entry.model / "1"})
    with pytest.raises(Exception, match="model neumf version 1: expected one of the models content, received another"):
        scorer.score("neumf", 1, {}, 1.0)


def test_a_signature_that_a_model_lacks_is_named(published: Generation) -> None:
    path = published.path.parent.parent / "models" / "content" / "1"
    scorer = SavedModelScorer({"content": path}, row_signatures={"content": "from_rows"})
    with pytest.raises(ModelAnswerInvalid, match=r"signature from_rows, received serving_default, .*by_row"):
        scorer.score("content", 1, {"candidate_rows": np.arange(3, dtype=np.int32)}, 1.0)
