from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking_service.engine import explainer
from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import ModelAnswerInvalid
from ranking_service.engine.query import RankingQuery, SelectionPolicy, Shortfall, ShortfallReason
from tests.unit.ranking_service.catalogue import (
    EffectScorer,
    FixedScorer,
    RetrievalScorer,
    candidate_table,
    genres,
    publish,
    ranker_entry,
    vectors,
)
from twostage.bundle.errors import BundleCorrupt
from twostage.errors import DeadlineSpent, InvalidField, NotReady
from twostage.features.context import Context
from twostage.features.diversity import Cap
from twostage.features.history import HISTORY_LENGTH, History

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


_EXPLAINED = replace(
    _QUERY,
    explain=True,
    history=History.of_rows(np.arange(8)),
    history_weights=np.linspace(0.2, 0.05, 8, dtype=np.float32),
)


def test_explanations_name_what_the_person_did_by_both_stages(engine: RankingEngine) -> None:
    effects = np.zeros((60, HISTORY_LENGTH, 2), np.float32)
    # The second entry carries item 20, for the first action; nothing else matters to the ranker.
    effects[20, 1, 0] = 0.5
    scorer = EffectScorer(effects)
    ranked = engine.rank(_EXPLAINED, scorer, 1.0)
    assert scorer.asked_rows == [20, 40, 30]
    assert len(ranked.explanations) == 3
    first = ranked.explanations[0][0]
    assert (first.row, first.item_id, first.title) == (1, "b1", "Book 1")
    # The blend is the first action's probability alone, so the fall of its log odds is the blend's.
    assert first.ranking_effect == pytest.approx(0.5, abs=1e-6)
    assert first.attention == pytest.approx(_EXPLAINED.history_weights[1])  # type: ignore[index]
    assert first.similarity == pytest.approx(float(vectors()[20] @ vectors()[1]), abs=1e-6)
    assert {one.ranking_effect for one in ranked.explanations[1]} == {0.0}
    assert ranked.effects_missing == ""
    assert list(ranked.timings_ms) == ["gather", "model_server", "blend", "select", "explain", "describe"]


def test_nobody_explains_unasked(engine: RankingEngine) -> None:
    scorer = EffectScorer(np.zeros((60, HISTORY_LENGTH, 2), np.float32))
    ranked = engine.rank(replace(_EXPLAINED, explain=False), scorer, 1.0)
    assert (scorer.asked_rows, ranked.explanations, ranked.effects_missing) == ([], (), "")
    assert "explain" not in ranked.timings_ms


def test_the_ranker_explains_at_most_200_items(engine: RankingEngine) -> None:
    scorer = EffectScorer(np.full((60, HISTORY_LENGTH, 2), 0.25, np.float32))
    repeated = replace(_EXPLAINED, candidate_rows=np.arange(60, dtype=np.uint32), count=60)
    query = replace(repeated, retrieval_scores=np.linspace(0.9, 0.1, 60).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explainer, "MAX_EFFECT_COUNT", 5)
        ranked = engine.rank(query, scorer, 1.0)
    assert scorer.asked_rows == [0, 1, 2, 3, 4]
    told = [{one.ranking_effect is not None for one in found} for found in ranked.explanations if found]
    assert told[0] == {True}
    assert told[-1] == {False}


@pytest.mark.parametrize(
    ("scorer", "why"),
    [
        (RetrievalScorer(), "does not tell effects"),
        (EffectScorer(None), "model main does not tell effects"),
        (EffectScorer(np.zeros((60, HISTORY_LENGTH, 1), np.float32)), r"expected effects of shape \(3, 50, 2\)"),
        (EffectScorer(np.full((60, HISTORY_LENGTH, 2), np.nan, np.float32)), "expected finite effects"),
        (EffectScorer(NotReady("the model server does not answer")), "the model server does not answer"),
        (EffectScorer(ModelAnswerInvalid("main", 1, "this", "that")), "expected this, received that"),
    ],
)
def test_without_effects_explanations_do_with_what_retrieval_told(
    engine: RankingEngine, scorer: RetrievalScorer, why: str
) -> None:
    ranked = engine.rank(_EXPLAINED, scorer, 1.0)
    assert any(ranked.explanations)
    assert all(one.ranking_effect is None for found in ranked.explanations for one in found)
    assert re.search(why, ranked.effects_missing)


def test_without_time_left_the_ranker_is_not_asked_to_explain(engine: RankingEngine) -> None:
    scorer = EffectScorer(np.zeros((60, HISTORY_LENGTH, 2), np.float32), pause_seconds=0.05)
    ranked = engine.rank(_EXPLAINED, scorer, 0.04)
    assert scorer.asked_rows == []
    assert "before the ranker was asked to explain" in ranked.effects_missing
    assert any(ranked.explanations)


def test_only_the_newest_50_entries_explain(engine: RankingEngine) -> None:
    history = History.of_rows(np.array([*range(9), *[59] * 49, 58]))
    weights = np.zeros(59, np.float32)
    weights[-2:] = 0.5
    effects = np.zeros((60, HISTORY_LENGTH, 2), np.float32)
    # The newest entry stands last of the fifty.
    effects[:, 49, 0] = 1.0
    ranked = engine.rank(replace(_EXPLAINED, history=history, history_weights=weights), EffectScorer(effects), 1.0)
    assert {one.row for found in ranked.explanations for one in found} <= {8, 58, 59}
    newest = [one for found in ranked.explanations for one in found if one.row == 58]
    assert newest
    assert all(one.ranking_effect == pytest.approx(1.0, abs=1e-6) for one in newest)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(0, 59), max_size=80),
    count=st.integers(1, 70),
    strength=st.sampled_from([0.0, 0.4, 1.0]),
    caps=st.lists(st.builds(Cap, st.just("genre"), st.integers(1, 12)), max_size=1),
    pins=st.lists(st.integers(0, 59), max_size=5),
    explain=st.booleans(),
)
def test_whatever_is_asked_the_answer_is_exactly_the_count_or_says_why_not(
    engine: RankingEngine, rows: list[int], count: int, strength: float, caps: list[Cap], pins: list[int], explain: bool
) -> None:
    query = RankingQuery(
        history=History.of_rows(np.array([1, 2])),
        context=Context(),
        candidate_rows=np.array(rows, np.uint32),
        retrieval_scores=np.linspace(1, 0, len(rows), dtype=np.float32),
        count=count,
        selection=SelectionPolicy(strength, tuple(caps), tuple(pins)),
        explain=explain,
        trace=True,
    )
    ranked = engine.rank(query, RetrievalScorer(), 5.0)
    answered = ranked.rows.tolist()
    assert len(answered) == len(set(answered))
    assert [rows[index] for index in ranked.candidate_indices.tolist()] == answered
    assert all(index == rows.index(row) for row, index in zip(answered, ranked.candidate_indices.tolist(), strict=True))
    there = list(dict.fromkeys(pin for pin in pins if pin in rows))[:count]
    assert answered[: len(there)] == there
    available = len(set(rows))
    if len(answered) == count:
        assert ranked.shortfall is None
    else:
        assert ranked.shortfall is not None
        assert len(answered) + ranked.shortfall.missing_count == count
        few = ShortfallReason.TOO_FEW_CANDIDATES
        assert ranked.shortfall.reason is (few if available < count else ShortfallReason.SELECTION_POLICY)
        assert caps or available < count
    for cap in caps:
        for name in {genre for row in answered[len(there) :] for genre in genres(row)}:
            free = [row for row in answered[len(there) :] if name in genres(row)]
            assert len(free) <= cap.max_count
    if not strength and not there:
        assert (np.diff(ranked.scores) <= 0).all()
    assert len(ranked.explanations) == (len(answered) if explain else 0)


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
