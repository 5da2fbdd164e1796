from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import EPSILON, GOLDEN_FILE, check_golden, golden_answers
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation

Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def altered(generation: Generation, tmp_path: Path) -> Callable[[Change], Generation]:
    """The generation with another golden file; its sums are not compared here."""

    def alter(change: Change) -> Generation:
        folder = tmp_path / str(generation.number)
        shutil.copytree(generation.path, folder)
        answers = json.loads((folder / GOLDEN_FILE).read_text())
        change(answers)
        (folder / GOLDEN_FILE).write_text(json.dumps(answers))
        return Generation(folder)

    return alter


def test_a_generation_agrees_with_itself(engine: RetrievalEngine, generation: Generation) -> None:
    assert check_golden(engine, generation) == 3


def test_answers_keep_question_and_answer(engine: RetrievalEngine) -> None:
    popular, personal = golden_answers(engine, [[], [5, 6]], count=7)
    assert (popular.history_rows, popular.count, len(popular.rows), popular.scores) == ([], 7, 7, [0.0] * 7)
    assert personal.history_rows == [5, 6]
    assert personal.scores == sorted(personal.scores, reverse=True)


def swap(answer: dict[str, Any], place: int) -> None:
    rows = answer["rows"]
    rows[place], rows[place + 1] = rows[place + 1], rows[place]


def test_another_order_of_distant_scores_is_refused(
    engine: RetrievalEngine, altered: Callable[[Change], Generation]
) -> None:
    generation = altered(lambda answers: swap(answers[1], 0))
    with pytest.raises(BundleCorrupt, match=r"golden/retrieval.json: expected answer 1 with row \d+ of score"):
        check_golden(engine, generation)


def test_scores_closer_than_epsilon_may_change_places(
    engine: RetrievalEngine, altered: Callable[[Change], Generation]
) -> None:
    def nearly_tied(answers: list[dict[str, Any]]) -> None:
        answer = answers[1]
        swap(answer, 3)
        middle = (answer["scores"][3] + answer["scores"][4]) / 2
        assert answer["scores"][3] - middle < 0.1, "else the two are too far apart for this test"
        answer["scores"][3] = answer["scores"][4] = middle

    generation = altered(nearly_tied)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval_service.engine.golden.EPSILON", 0.1)
        check_golden(engine, generation)
    with pytest.raises(BundleCorrupt):
        check_golden(engine, generation)


def test_a_row_that_was_just_below_the_last_may_take_its_place(
    engine: RetrievalEngine, altered: Callable[[Change], Generation]
) -> None:
    def another_last(answers: list[dict[str, Any]]) -> None:
        (one_more,) = golden_answers(engine, [answers[1]["history_rows"]], count=answers[1]["count"] + 1)
        answers[1]["rows"][-1] = one_more.rows[-1]

    generation = altered(another_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval_service.engine.golden.EPSILON", 0.5)
        check_golden(engine, generation)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda answers: answers[0]["rows"].reverse(), "the same popular rows"),
        (lambda answers: answers[1]["rows"].pop(), "19 candidates, found 20"),
        (lambda answers: answers[1]["scores"].__setitem__(0, 0.5 + 10 * EPSILON), "of score 0.50"),
        (lambda answers: answers[1]["history_rows"].append(200), "rows below 200 in answer 1"),
        (lambda answers: answers[1].pop("count"), "a list of golden answers"),
    ],
)
def test_every_other_difference_is_refused(
    engine: RetrievalEngine, altered: Callable[[Change], Generation], change: Change, complaint: str
) -> None:
    with pytest.raises(BundleCorrupt, match=complaint):
        check_golden(engine, altered(change))


def test_a_manifest_without_golden_answers_is_told_apart(
    engine: RetrievalEngine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Generation(generation.path)
    files = {path: entry for path, entry in opened.manifest.files.items() if path != GOLDEN_FILE}
    monkeypatch.setattr(opened, "manifest", opened.manifest.model_copy(update={"files": files}))
    assert check_golden(engine, opened) is None


def test_a_listed_file_that_is_gone_is_refused(
    engine: RetrievalEngine, altered: Callable[[Change], Generation]
) -> None:
    generation = altered(list.copy)
    (generation.path / GOLDEN_FILE).unlink()
    with pytest.raises(BundleCorrupt, match="no file"):
        check_golden(engine, generation)
