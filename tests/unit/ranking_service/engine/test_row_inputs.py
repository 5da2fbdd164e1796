"""Rankers that hold the items' features themselves are asked by rows, and by features where those are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import GoldenMismatch
from ranking_service.engine.golden import GoldenQuestion, check_golden, golden_answers, write_golden
from ranking_service.engine.query import RankingQuery
from ranking_service.engine.row_inputs import RowInputs
from tests.unit.ranking_service.catalogue import EffectScorer, RetrievalScorer, publish, ranker_entry
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import RankerEntry, RowsEntry
from twostage.features.context import Context
from twostage.features.history import History
from twostage.features.model_inputs import RANKER_INPUTS, ROW_INPUTS

_BY_ROW = RowsEntry(signature="by_row", inputs=list(ROW_INPUTS))
_QUERY = RankingQuery(
    History.of_rows(np.array([4, 5], np.uint32)),
    Context(),
    np.array([9, 8, 59], np.uint32),
    np.array([0.25, 0.75, 0.5], np.float32),
    2,
)


@pytest.fixture
def engine(store_path: Path) -> RankingEngine:
    return RankingEngine.open(publish(store_path, rankers={"main": ranker_entry(by_row=_BY_ROW)}).open())


def test_rows_go_to_a_model_that_holds_the_features(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    ranked = engine.rank(_QUERY, scorer, 1.0)
    (_, _, inputs, _) = scorer.calls[0]
    assert tuple(inputs) == ROW_INPUTS
    shapes = {name: (array.shape, array.dtype.name) for name, array in inputs.items()}
    assert shapes == {
        "history_codes": ((2, 50), "int32"),
        "history_numbers": ((2, 50), "float32"),
        "context": ((1, 6), "float32"),
        "candidate_rows": ((3,), "int32"),
        "retrieval_scores": ((3,), "float32"),
    }
    assert inputs["candidate_rows"].tolist() == [9, 8, 59]
    assert inputs["history_codes"][0, :3].tolist() == [4, 5, -1]
    # The blend is 1 : 3 of s and (1 - s)²: 0.484 for a quarter, 0.313 for a half, 0.234 for three quarters.
    assert ranked.rows.tolist() == [9, 59]


def test_only_the_inputs_that_the_manifest_lists_are_sent() -> None:
    wanted = ["retrieval_scores", "candidate_rows"]
    gathered = RowInputs(wanted).gather(_QUERY.history, Context(), _QUERY.candidate_rows, _QUERY.retrieval_scores)
    assert list(gathered) == wanted


def test_asked_for_it_the_same_ranker_is_fed_features(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    engine.rank(replace(_QUERY, by_value=True), scorer, 1.0)
    assert tuple(scorer.calls[0][2]) == RANKER_INPUTS


def test_effects_are_asked_by_the_features_of_the_selected_items_alone(engine: RankingEngine) -> None:
    scorer = EffectScorer(np.zeros((60, 50, 2), np.float32))
    ranked = engine.rank(replace(_QUERY, explain=True), scorer, 1.0)
    assert tuple(scorer.calls[0][2]) == ROW_INPUTS
    assert scorer.asked_rows == ranked.rows.tolist()
    assert ranked.effects_missing == ""


@pytest.mark.parametrize(
    ("inputs", "message"),
    [(["candidate_rows", "weather"], "received weather"), (["retrieval_scores"], "received no candidate_rows")],
)
def test_inputs_that_nobody_can_build_refuse_the_bundle(store_path: Path, inputs: list[str], message: str) -> None:
    entry = ranker_entry(by_row=RowsEntry(signature="by_row", inputs=inputs))
    with pytest.raises(BundleCorrupt, match=message):
        RankingEngine.open(publish(store_path, rankers={"main": entry}).open())


class _OffByValue(RetrievalScorer):
    """Answers otherwise when it is fed features."""

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        off = np.float32(0.01 if "candidate_features" in inputs else 0)
        return super().score(model, version, inputs, timeout_seconds) + off


def test_golden_questions_are_asked_both_ways(engine: RankingEngine) -> None:
    questions = [GoldenQuestion((), (1, 2, 3), (0.0, 0.5, 1.0)), GoldenQuestion((4,), (9, 8), (0.25, 0.75))]
    scorer = RetrievalScorer()
    write_golden(engine.generation.path, golden_answers(engine, scorer, questions))
    assert all("candidate_rows" in inputs for _, _, inputs, _ in scorer.calls)
    asked = RetrievalScorer()
    assert check_golden(engine, asked) == 2
    assert ["candidate_rows" in inputs for _, _, inputs, _ in asked.calls] == [True, False, True, False]
    with pytest.raises(GoldenMismatch, match="golden ranking 1 of 2, generation 1, by value: expected score"):
        check_golden(engine, _OffByValue())


def test_a_manifest_without_rows_reads_as_one_that_is_served_by_value(store_path: Path) -> None:
    document = ranker_entry().model_dump()
    del document["by_row"]
    entry = RankerEntry.model_validate(document)
    scorer = RetrievalScorer()
    RankingEngine.open(publish(store_path, rankers={"main": entry}).open()).rank(_QUERY, scorer, 1.0)
    assert tuple(scorer.calls[0][2]) == RANKER_INPUTS
