from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import GoldenMismatch
from ranking_service.engine.golden import (
    GOLDEN_PATH,
    GoldenQuestion,
    check_golden,
    golden_answers,
    read_golden,
    write_golden,
)
from tests.unit.ranking_service.catalogue import FixedScorer, RetrievalScorer, publish, ranker_entry
from twostage.bundle.errors import BundleCorrupt

_QUESTIONS = [
    GoldenQuestion((), (1, 2, 3), (0.0, 0.5, 1.0)),
    GoldenQuestion((4, 5), (9, 8), (0.25, 0.75), ranker="main"),
]


@pytest.fixture
def published(store_path: Path) -> RankingEngine:
    engine = RankingEngine.open(publish(store_path).open())
    write_golden(engine.generation.path, golden_answers(engine, RetrievalScorer(), _QUESTIONS))
    return engine


def test_the_published_model_passes_its_own_golden_questions(published: RankingEngine) -> None:
    assert check_golden(published, RetrievalScorer()) == 2


def test_the_file_holds_question_order_and_scores(published: RankingEngine) -> None:
    document = json.loads((published.generation.path / GOLDEN_PATH).read_text())
    # blend 1 : 3 of s and (1 - s)², s = 0, .5, 1
    assert document["answers"][0]["rows"] == [1, 2, 3]
    assert document["answers"][0]["scores"] == pytest.approx([0.75, 0.3125, 0.25])
    assert document["answers"][1]["history_rows"] == [4, 5]
    assert document["order_epsilon"] == 1e-4


def test_scores_a_little_off_pass_and_scores_beyond_the_tolerance_do_not(published: RankingEngine) -> None:
    assert check_golden(published, RetrievalScorer(offset=5e-4)) == 2
    with pytest.raises(GoldenMismatch, match="golden ranking 1 of 2, generation 1: expected score"):
        check_golden(published, RetrievalScorer(offset=2e-3))


def _golden(engine: RankingEngine, scores: list[float]) -> None:
    path = engine.generation.path / GOLDEN_PATH
    answer = {
        "history_rows": [],
        "candidate_rows": [1, 2, 3],
        "retrieval_scores": [0.0, 0.0, 0.0],
        "rows": [1, 2, 3],
        "scores": scores,
    }
    path.write_text(json.dumps({"score_tolerance": 1e-3, "order_epsilon": 1e-4, "answers": [answer]}))


def _answering(scores: list[float]) -> FixedScorer:
    return FixedScorer(np.repeat(np.array(scores, np.float32)[:, np.newaxis], 2, axis=1))


def test_items_closer_than_the_epsilon_may_change_places(published: RankingEngine) -> None:
    _golden(published, [0.50005, 0.50000, 0.3])
    assert check_golden(published, _answering([0.50000, 0.50005, 0.3])) == 1


def test_items_further_apart_may_not_even_within_the_tolerance(published: RankingEngine) -> None:
    _golden(published, [0.5008, 0.5000, 0.3])
    with pytest.raises(GoldenMismatch, match="expected row 1 before"):
        check_golden(published, _answering([0.5003, 0.5004, 0.3]))


def test_scores_of_rare_actions_are_compared_as_parts_of_themselves(published: RankingEngine) -> None:
    rare = [7e-4, 5e-4, 3e-4]
    _golden(published, rare)
    assert check_golden(published, _answering([7.0003e-4, 5e-4, 3e-4])) == 1
    with pytest.raises(GoldenMismatch, match=r"expected score 0\.0007 for row 1 within 7e-06, received 0\.00063"):
        check_golden(published, _answering([0.9 * score for score in rare]))


def test_items_of_rare_actions_keep_their_order(published: RankingEngine) -> None:
    _golden(published, [5.02e-5, 5e-5, 3e-5])
    with pytest.raises(GoldenMismatch, match="expected row 1 before items of scores lower by 2e-07"):
        check_golden(published, _answering([5.0e-5, 5.01e-5, 3e-5]))


def test_a_question_may_blend_anew(published: RankingEngine) -> None:
    answers = golden_answers(published, RetrievalScorer(), [replace(_QUESTIONS[0], blend={"liked": 1.0})])
    write_golden(published.generation.path, answers)
    read = read_golden(published.generation.path)
    assert read is not None
    assert read.answers[0].question.blend == {"liked": 1.0}
    assert read.answers[0].scores != pytest.approx([0.75, 0.3125, 0.25])
    assert check_golden(published, RetrievalScorer()) == 1


def test_a_generation_without_golden_questions_has_none_to_check(engine: RankingEngine) -> None:
    assert check_golden(engine, RetrievalScorer()) == 0


def _content(**changes: list[object]) -> str:
    answer = {"history_rows": [], "candidate_rows": [1], "retrieval_scores": [0], "rows": [1], "scores": [0]}
    return json.dumps({"answers": [{**answer, **changes}]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON"),
        ('{"answers": []}', "answers"),
        (_content(rows=[2]), "each once"),
        (_content(candidate_rows=[1, 1], rows=[1, 1], scores=[0, 0], retrieval_scores=[0, 0]), "each once"),
        (_content(retrieval_scores=[]), "one length"),
        (_content(scores=["high"]), "scores"),
    ],
)
def test_a_damaged_golden_file_is_refused(published: RankingEngine, content: str, message: str) -> None:
    (published.generation.path / GOLDEN_PATH).write_text(content)
    with pytest.raises(BundleCorrupt, match=message):
        read_golden(published.generation.path)


# As the first program wrote it; every later one reads it.
_FIRST_FORMAT = """{"score_tolerance":0.001,"order_epsilon":0.0001,"answers":[{"ranker":"","history_rows":[4,5],
"candidate_rows":[1,2,3],"retrieval_scores":[0.0,0.5,1.0],"rows":[1,2,3],"scores":[0.75,0.3125,0.25]}]}
"""


def test_a_file_of_the_first_format_is_read_and_checked(store_path: Path) -> None:
    older = RankingEngine.open(publish(store_path).open())
    path = older.generation.path / GOLDEN_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_FIRST_FORMAT)
    assert check_golden(older, RetrievalScorer()) == 1


def test_each_ranker_is_asked_its_own_questions(store_path: Path) -> None:
    rankers = {"main": ranker_entry(), "other": ranker_entry(model="other", blend={"rated": 1.0})}
    engine = RankingEngine.open(publish(store_path, rankers=rankers).open())
    questions = [GoldenQuestion((), (1, 2, 3), (0.0, 0.5, 1.0), ranker=name) for name in ("", "main", "other")]
    answers = golden_answers(engine, RetrievalScorer(), questions)
    assert [answer.rows for answer in answers] == [[1, 2, 3], [1, 2, 3], [3, 2, 1]]
    write_golden(engine.generation.path, answers)
    scorer = RetrievalScorer()
    assert check_golden(engine, scorer) == 3
    assert [model for model, *_ in scorer.calls] == ["main", "main", "other"]

    class OtherIsOff(RetrievalScorer):
        def score(self, model: str, *rest: Any) -> Any:
            return super().score(model, *rest) + (0.01 if model == "other" else 0.0)

    with pytest.raises(GoldenMismatch, match="golden ranking 3 of 3, ranker other, generation 1: expected score"):
        check_golden(engine, OtherIsOff())
