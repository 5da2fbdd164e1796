from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import EPSILON, GOLDEN_FILE, check_golden, golden_answers
from tests.bundles import TinyCatalogue
from tests.unit.retrieval_service.engine.memory_index import Sharded
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation
from twostage.bundle.row_set import RowSet

Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def altered(generation: Generation, tmp_path: Path) -> Callable[[Change], Generation]:
    """The generation with another golden file; its sums are not compared here."""

    def alter(change: Change) -> Generation:
        folder = tmp_path / str(generation.number)
        shutil.copytree(generation.path, folder, dirs_exist_ok=True)
        answers = json.loads((folder / GOLDEN_FILE).read_text())
        change(answers)
        (folder / GOLDEN_FILE).write_text(json.dumps(answers))
        return Generation(folder)

    return alter


def test_a_generation_agrees_with_itself(engine: RetrievalEngine, generation: Generation) -> None:
    assert check_golden(engine, generation) == 6


def test_a_generation_with_all_sources_agrees_with_itself(
    rich_engine: RetrievalEngine, rich_generation: Generation
) -> None:
    assert check_golden(rich_engine, rich_generation) == 6


def test_answers_keep_question_and_answer(engine: RetrievalEngine) -> None:
    popular, personal, *_ = golden_answers(engine, [[], [5, 6]], count=7)
    assert (popular.history_rows, popular.count, len(popular.rows), popular.scores) == ([], 7, 7, [0.0] * 7)
    assert personal.history_rows == [5, 6]
    assert personal.scores == sorted(personal.scores, reverse=True)


def test_the_last_history_is_asked_for_under_conditions_too(engine: RetrievalEngine, items: TinyCatalogue) -> None:
    *_, excluding, filtered, tagged = golden_answers(engine, [[9], [5, 6, 5], []], count=7)
    assert (excluding.history_rows, excluding.exclude_rows) == ([5, 6, 5], [5, 6])
    assert not {5, 6} & set(excluding.rows)
    shared = items.tags[5][0]
    assert filtered.any_of == {"tags": [shared]}
    assert all(shared in items.tags[row] for row in filtered.rows)
    assert (tagged.history_rows, tagged.interest_tags) == ([], [shared])
    assert all(shared in items.tags[row] for row in tagged.rows)


def test_answers_of_an_older_bundle_are_read(engine: RetrievalEngine, altered: Callable[[Change], Generation]) -> None:
    def as_before(answers: list[dict[str, Any]]) -> None:
        del answers[3:]
        for answer in answers:
            for name in ("exclude_rows", "interest_tags", "any_of", "quotas"):
                del answer[name]

    assert check_golden(engine, altered(as_before)) == 3


def test_a_shard_is_held_to_the_scores_of_its_own_rows(
    engine: RetrievalEngine, altered: Callable[[Change], Generation]
) -> None:
    shards = Sharded.in_memory(engine.catalogue, [100, 200]).shards

    def another_score(answers: list[dict[str, Any]]) -> None:
        own = next(place for place, row in enumerate(answers[1]["rows"]) if row >= 100)
        answers[1]["scores"][own] += 0.01

    generation = altered(another_score)
    with pytest.raises(BundleCorrupt, match="answer 1 with row"):
        check_golden(shards[1], generation)


def test_a_shard_is_held_to_all_that_every_shard_knows(
    engine: RetrievalEngine, altered: Callable[[Change], Generation]
) -> None:
    shard = Sharded.in_memory(engine.catalogue, [100, 200]).shards[1]
    check_golden(shard, altered(list.copy))
    with pytest.raises(BundleCorrupt, match="answer 0 with the same rows"):
        check_golden(shard, altered(lambda answers: answers[0]["rows"].reverse()))


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
        one_more, *_ = golden_answers(engine, [answers[1]["history_rows"]], count=answers[1]["count"] + 1)
        answers[1]["rows"][-1] = one_more.rows[-1]

    generation = altered(another_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval_service.engine.golden.EPSILON", 0.5)
        check_golden(engine, generation)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda answers: answers[0]["rows"].reverse(), "the same rows in the same order"),
        (lambda answers: answers[1]["rows"].pop(), "19 candidates, found 20"),
        (lambda answers: answers[1]["scores"].__setitem__(0, 0.5 + 10 * EPSILON), "of score 0.50"),
        (lambda answers: answers[1]["history_rows"].append(200), "rows below 200 in answer 1"),
        (lambda answers: answers[1].pop("count"), "a list of golden answers"),
        (lambda answers: answers[3]["exclude_rows"].append(200), "rows below 200 in answer 3"),
        (lambda answers: answers[3]["exclude_rows"].clear(), "answer 3 with row"),
        (lambda answers: answers[4]["any_of"].update(publisher=["x"]), "can be asked in answer 4"),
        (lambda answers: answers[1]["quotas"].update(nobody=1), "can be asked in answer 1"),
        (lambda answers: answers[5].update(any_of=7), "can be asked in answer 5"),
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


class Forgetful:
    """An exact index that never finds one row in so many."""

    def __init__(self, vectors: NDArray[np.float32], every: int) -> None:
        self._vectors = vectors
        self._every = every

    def search(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        allowed = np.ones(len(self._vectors), np.bool_) if selector is None else selector.mask
        keys = np.where(allowed, self._vectors @ vector, -np.inf).astype(np.float32)
        keys[:: self._every] = np.where(allowed[:: self._every], -2.0, -np.inf)
        rows = np.argsort(-keys, kind="stable")[: min(count, int(allowed.sum()))].astype(np.uint32)
        return rows, keys[rows]


def test_another_index_may_miss_a_few_rows_and_the_bundles_own_none(generation: Generation) -> None:
    vectors = generation.array(generation.manifest.tower.item_vectors)
    other = RetrievalEngine.open(generation, index=Forgetful(vectors, every=12))
    assert check_golden(other, generation, other_index=True) == 6
    with pytest.raises(BundleCorrupt, match="answer"):
        check_golden(other, generation)


def test_another_index_that_misses_many_rows_is_refused(generation: Generation) -> None:
    vectors = generation.array(generation.manifest.tower.item_vectors)
    other = RetrievalEngine.open(generation, index=Forgetful(vectors, every=2))
    with pytest.raises(BundleCorrupt, match=r"expected answer \d with 80% of"):
        check_golden(other, generation, other_index=True)
