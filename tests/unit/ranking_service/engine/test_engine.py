from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import ModelAnswerInvalid
from ranking_service.engine.query import RankingQuery, SelectionPolicy, Shortfall, ShortfallReason
from tests.unit.ranking_service.catalogue import (
    FixedScorer,
    RetrievalScorer,
    candidate_table,
    genres,
    publish,
    ranker_entry,
)
from twostage.bundle.errors import BundleCorrupt
from twostage.errors import DeadlineSpent, InvalidField
from twostage.features.context import Context
from twostage.features.diversity import Cap
from twostage.features.history import History

_ROWS = np.array([10, 20, 30, 40, 50], np.uint32)
_SCORES = np.array([0.1, 0.9, 0.5, 0.7, 0.5], np.float32)
_QUERY = RankingQuery(
    history=History.of_rows(np.array([1, 2])),
    context=Context(),
    candidate_rows=_ROWS,
    retrieval_scores=_SCORES,
    count=3,
    blend={"rated": 1.0},
)


def test_the_best_are_answered_with_ids_titles_scores_and_places(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    ranked = engine.rank(replace(_QUERY, attributes=("genre", "year"), trace=True), scorer, 1.0)
    assert ranked.rows.tolist() == [20, 40, 30]
    assert ranked.scores == pytest.approx([0.9, 0.7, 0.5])
    assert ranked.action_scores == pytest.approx(np.array([[0.9, 0.01], [0.7, 0.09], [0.5, 0.25]]))
    assert ranked.item_ids == ["b20", "b40", "b30"]
    assert ranked.titles == ["Book 20", "Book 40", "Book 30"]
    assert ranked.candidate_indices.tolist() == [1, 3, 2]
    assert ranked.ranking_ranks is not None
    assert ranked.ranking_ranks.tolist() == [1, 2, 3]
    assert ranked.attributes[0] == {"genre": ", ".join(genres(20)), "year": "1970"}
    assert ranked.shortfall is None
    assert list(ranked.timings_ms) == ["gather", "model_server", "blend", "select", "describe"]
    assert ranked.actions == ("rated", "liked")
    model, version, inputs, timeout = scorer.calls[0]
    assert (model, version) == ("main", engine.number)
    assert 0 < timeout <= 1.0
    assert inputs["candidate_features"].tolist() == candidate_table()[_ROWS].tolist()


def test_the_rankers_own_blend_holds_when_none_is_asked(engine: RankingEngine) -> None:
    ranked = engine.rank(replace(_QUERY, blend={}, count=5), RetrievalScorer(), 1.0)
    expected = (_SCORES + 3 * (1 - _SCORES) ** 2) / 4
    assert sorted(ranked.scores.tolist()) == pytest.approx(sorted(expected.tolist()))


def test_ties_stand_in_the_candidates_order(engine: RankingEngine) -> None:
    ranked = engine.rank(replace(_QUERY, retrieval_scores=np.full(5, 0.5, np.float32), count=5), RetrievalScorer(), 1.0)
    assert ranked.rows.tolist() == _ROWS.tolist()


def test_a_repeated_candidate_is_scored_once_where_it_stands_first(engine: RankingEngine) -> None:
    rows = np.array([20, 10, 20, 30], np.uint32)
    scores = np.array([0.2, 0.3, 0.9, 0.1], np.float32)
    scorer = RetrievalScorer()
    ranked = engine.rank(replace(_QUERY, candidate_rows=rows, retrieval_scores=scores, count=4), scorer, 1.0)
    assert ranked.rows.tolist() == [10, 20, 30]
    assert ranked.candidate_indices.tolist() == [1, 0, 3]
    assert ranked.shortfall == Shortfall(1, ShortfallReason.TOO_FEW_CANDIDATES)
    assert len(scorer.calls[0][2]["retrieval_scores"]) == 3


def test_no_candidates_are_a_shortfall_and_nobody_is_asked(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    nothing = replace(
        _QUERY,
        candidate_rows=np.array([], np.uint32),
        retrieval_scores=np.array([], np.float32),
        explain=True,
        trace=True,
        selection=SelectionPolicy(strength=0.5, pinned_rows=(3,)),
    )
    ranked = engine.rank(nothing, scorer, 1.0)
    assert len(ranked) == 0
    assert ranked.shortfall == Shortfall(3, ShortfallReason.TOO_FEW_CANDIDATES)
    assert scorer.calls == []


def test_caps_that_let_too_few_through_are_the_reason_of_the_shortfall(engine: RankingEngine) -> None:
    rows = np.array([0, 3, 6, 9], np.uint32)
    query = replace(
        _QUERY,
        candidate_rows=rows,
        retrieval_scores=np.linspace(0.9, 0.1, 4).astype(np.float32),
        selection=SelectionPolicy(caps=(Cap("genre", 2),)),
    )
    ranked = engine.rank(query, RetrievalScorer(), 1.0)
    assert ranked.rows.tolist() == [0, 3]
    assert ranked.shortfall == Shortfall(1, ShortfallReason.SELECTION_POLICY)
    exactly_enough = engine.rank(replace(query, count=4), RetrievalScorer(), 1.0)
    assert exactly_enough.shortfall == Shortfall(2, ShortfallReason.SELECTION_POLICY)
    too_few = engine.rank(replace(query, count=5), RetrievalScorer(), 1.0)
    assert too_few.shortfall == Shortfall(3, ShortfallReason.TOO_FEW_CANDIDATES)


def test_pins_and_diversity_change_the_order_and_the_trace_keeps_the_ranks(engine: RankingEngine) -> None:
    selection = SelectionPolicy(strength=0.5, pinned_rows=(10, 59))
    ranked = engine.rank(replace(_QUERY, selection=selection, trace=True, count=5), RetrievalScorer(), 1.0)
    assert ranked.rows[0] == 10
    assert ranked.ranking_ranks is not None
    assert ranked.ranking_ranks[0] == 5
    assert sorted(ranked.ranking_ranks.tolist()) == [1, 2, 3, 4, 5]


def test_reasons_name_what_the_person_did(engine: RankingEngine) -> None:
    ranked = engine.rank(replace(_QUERY, explain=True, history=History.of_rows(np.arange(8))), RetrievalScorer(), 1.0)
    assert len(ranked.reasons) == 3
    # Eight random directions: some lie on an item's side.
    assert all(reason.startswith("because of ") for reasons in ranked.reasons for reason in reasons)
    assert any(ranked.reasons)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ranker": "other"}, "ranker"),
        ({"blend": {"bought": 1.0}}, "blend[bought]"),
        ({"attributes": ("genre", "colour")}, "attributes[1]"),
        ({"candidate_rows": np.array([1, 60, 2, 3, 4], np.uint32)}, "candidates.rows[1]"),
        ({"history": History.of_rows(np.array([0, 1, 60]))}, "history.rows[2]"),
        ({"selection": SelectionPolicy(caps=(Cap("colour", 1),))}, "selection.diversity.caps[0].attribute"),
        ({"selection": SelectionPolicy(caps=(Cap("year", 1),))}, "selection.diversity.caps[0].attribute"),
        ({"selection": SelectionPolicy(pinned_rows=(1, 60))}, "selection.pinned_rows[1]"),
    ],
)
def test_what_the_generation_does_not_have_is_refused_by_field(
    engine: RankingEngine, change: dict[str, object], field: str
) -> None:
    scorer = RetrievalScorer()
    with pytest.raises(InvalidField) as refused:
        engine.rank(replace(_QUERY, **change), scorer, 1.0)  # type: ignore[arg-type]
    assert refused.value.violations[0].field == field
    assert scorer.calls == []


def test_a_useless_answer_of_the_model_is_no_ranking(engine: RankingEngine) -> None:
    with pytest.raises(ModelAnswerInvalid, match="main version 1"):
        engine.rank(_QUERY, FixedScorer(np.full((5, 2), np.nan, np.float32)), 1.0)


def test_no_scorer_is_asked_when_the_time_is_over(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    with pytest.raises(DeadlineSpent):
        engine.rank(_QUERY, scorer, 1e-9)
    assert scorer.calls == []


def test_a_default_ranker_that_is_not_there_is_refused(store_path: Path) -> None:
    generation = publish(store_path, rankers={"other": ranker_entry()}).open()
    with pytest.raises(BundleCorrupt, match="expected the default ranker main, found none among other"):
        RankingEngine.open(generation)


def test_a_blend_of_an_unknown_action_in_the_manifest_is_refused(store_path: Path) -> None:
    generation = publish(store_path, blend={"bought": 1.0}).open()
    with pytest.raises(BundleCorrupt, match="bought"):
        RankingEngine.open(generation)


@pytest.mark.parametrize("has_times", [True, False])
def test_models_that_saw_no_times_are_shown_none(store_path: Path, has_times: bool) -> None:
    engine = RankingEngine.open(publish(store_path, has_times=has_times).open())
    history = replace(History.of_rows(np.array([1, 2])), times=np.array([86_400, 0], np.int64))
    scorer = RetrievalScorer()
    # Three in the morning, four days after 1970 began.
    now = 4 * 86_400 + 3 * 3_600
    engine.rank(replace(_QUERY, history=history, context=Context(time_seconds=now)), scorer, 1.0)
    inputs = scorer.calls[0][2]
    context, ages = inputs["context"][0], inputs["history_ages_days"][0]
    assert context[5] == pytest.approx(np.log(3) / np.log(51))
    if has_times:
        assert context[0] == 1.0
        assert context[1:3] == pytest.approx([np.sqrt(0.5), np.sqrt(0.5)])
        assert ages[0] == pytest.approx(3.125)
    else:
        assert not context[:5].any()
        assert not ages.any()
