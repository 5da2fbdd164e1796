from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.explanations import Explanation, blended_effects, explain, in_words, taste_mask
from twostage.features.history import History

_VECTORS = np.array([[1, 0], [1, 0], [0.8, 0.6], [0.6, 0.8], [0.9, np.sqrt(0.19)], [-1, 0]], np.float32)


def _rows(*rows: int) -> NDArray[np.uint32]:
    return np.array(rows, np.uint32)


def _explain(
    rows: NDArray[np.uint32], history: NDArray[np.uint32], **told: NDArray[np.floating] | list[bool]
) -> list[list[Explanation]]:
    nameable = np.array(told.pop("nameable", [True] * len(history)), np.bool_)
    arrays = {name: np.asarray(column, np.float64) for name, column in told.items()}
    return explain(rows, history, nameable, _VECTORS, lambda row: (f"id-{row}", f"T{row}"), **arrays)  # type: ignore[arg-type]


def test_disliked_items_are_no_reason_and_unknown_actions_are(engine: RankingEngine) -> None:
    history = History(
        np.array([1, 2, 3, 4, 1], np.uint32),
        np.array([1, 1, 0, 2, 1], np.int32),
        np.array([5.0, 2.0, np.nan, np.nan, 4.0], np.float32),
        np.zeros(5, np.int64),
    )
    schema = engine.generation.manifest.action_schema
    assert taste_mask(history, schema, ["rated", "shelved"]).tolist() == [True, False, True, False, True]


def test_with_nothing_told_the_three_most_alike_are_named() -> None:
    (found,) = _explain(_rows(0), _rows(3, 2, 1, 4, 5))
    assert [one.row for one in found] == [1, 4, 2]
    assert [one.similarity for one in found] == pytest.approx([1.0, 0.9, 0.8], abs=1e-6)
    assert all(one.attention is None and one.match_share is None and one.ranking_effect is None for one in found)
    assert found[0].retrieval_part == 0.0


def test_attention_times_similarity_decides_where_the_ranker_was_not_asked() -> None:
    (found,) = _explain(_rows(0), _rows(3, 2, 1), attention=np.array([0.7, 0.2, 0.1]))
    parts = [0.7 * 0.6, 0.2 * 0.8, 0.1 * 1.0]
    assert [one.row for one in found] == [3, 2, 1]
    assert [one.retrieval_part for one in found] == pytest.approx(parts, abs=1e-6)
    assert [one.match_share for one in found] == pytest.approx([part / sum(parts) for part in parts], abs=1e-6)


def test_each_stage_has_half_a_say() -> None:
    attention = np.array([0.7, 0.2, 0.1])
    effects = np.array([[0.0, 0.1, 0.3]])
    (found,) = _explain(_rows(0), _rows(3, 2, 1), attention=attention, effects=effects)
    parts = np.array([0.42, 0.16, 0.1])
    carried = (parts / parts.sum() + effects[0] / effects.sum()) / 2
    assert [one.row for one in found] == [[3, 2, 1][place] for place in np.argsort(-carried)]
    assert {one.row: one.ranking_effect for one in found} == pytest.approx({3: 0.0, 2: 0.1, 1: 0.3})


def test_what_speaks_against_an_item_is_no_reason() -> None:
    # Unlike, and the ranker likes the item better without it.
    against = _explain(_rows(0), _rows(5), attention=np.array([1.0]), effects=np.array([[-0.2]]))
    assert against == [[]]
    # Alike, yet the ranker likes the item better without it: named by retrieval, with the ranker's word told.
    ((mixed,),) = _explain(_rows(0), _rows(1), attention=np.array([1.0]), effects=np.array([[-0.2]]))
    assert mixed.ranking_effect == pytest.approx(-0.2)


def test_an_item_is_no_reason_for_itself_and_unlike_items_are_none() -> None:
    assert _explain(_rows(0, 5), _rows(0, 3)) == [_explain(_rows(0), _rows(3))[0], []]


def test_an_item_that_stands_in_the_history_twice_is_named_once_with_the_sum() -> None:
    ((first, second),) = _explain(
        _rows(0), _rows(3, 2, 3), attention=np.array([0.3, 0.4, 0.3]), effects=np.array([[0.1, 0.1, 0.2]])
    )
    assert (first.row, second.row) == (3, 2)
    assert first.attention == pytest.approx(0.6)
    assert first.ranking_effect == pytest.approx(0.3)


def test_what_may_not_be_named_is_not_and_keeps_its_share() -> None:
    ((only,),) = _explain(_rows(0), _rows(1, 2), attention=np.array([0.5, 0.5]), nameable=[False, True])
    assert only.row == 2
    assert only.match_share == pytest.approx(0.4 / 0.9, abs=1e-6)


def test_the_newest_is_named_first_among_equals() -> None:
    (found,) = _explain(_rows(2), _rows(0, 1))
    assert [one.row for one in found] == [1, 0]


def test_without_a_history_or_items_there_are_no_reasons() -> None:
    assert _explain(_rows(0, 1), _rows()) == [[], []]
    assert _explain(_rows(), _rows(0, 1)) == []


def test_of_one_action_the_blended_effect_is_its_own() -> None:
    effects = np.array([[[0.5], [-2.0], [0.0]]])
    found = blended_effects(np.array([[0.3]], np.float32), effects, np.array([1.0]))
    assert found == pytest.approx(effects[:, :, 0], abs=1e-6)


@given(
    st.lists(st.floats(0.001, 0.999), min_size=3, max_size=3),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    st.lists(st.floats(0.01, 10), min_size=3, max_size=3),
)
def test_the_blended_effect_is_the_fall_of_the_log_odds_of_the_score_shown(
    probabilities: list[float], falls: list[float], raw: list[float]
) -> None:
    weights = np.array(raw) / sum(raw)
    given_scores = np.array([probabilities], np.float32)
    found = blended_effects(given_scores, np.array([[falls]]), weights)[0, 0]
    without = []
    for probability, fall in zip(given_scores[0].tolist(), falls, strict=True):
        odds = probability / (1 - probability) * math.exp(-fall)
        without.append(odds / (1 + odds))
    score, lesser = float(given_scores[0].astype(np.float64) @ weights), float(np.array(without) @ weights)
    assert found == pytest.approx(math.log(score / (1 - score)) - math.log(lesser / (1 - lesser)), abs=1e-5)


def test_probabilities_of_0_and_1_have_finite_effects() -> None:
    scores = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    found = blended_effects(scores, np.full((3, 4, 2), 30.0), np.array([0.5, 0.5]))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("explanation", "words"),
    [
        (Explanation(1, "b1", "Emma", 0.83, 0.5, 0.41, 0.128), "41% of the match, likeness 0.83; without it the "),
        (Explanation(1, "b1", "Emma", 0.83, 0.5, 0.41, 0.128), "; without it the ranker's odds fall by 12%)"),
        (Explanation(1, "b1", "Emma", 0.83, 0.5, 0.41, -0.0953), "; without it the ranker's odds rise by 10%)"),
        (Explanation(1, "b1", "Emma", 0.83, 0.5, 0.41, 0.001), "because of Emma (41% of the match, likeness 0.83)"),
        (Explanation(1, "b1", "Emma", 0.83, 0.001, 0.004, 0.006), "(under 1% of the match, likeness 0.83; without it"),
        (
            Explanation(1, "b1", "Emma", -0.1, 0.5, 0.0, 0.7),
            "(likeness -0.10; without it the ranker's odds fall by 50%)",
        ),
        (Explanation(1, "b1", "", 0.83), "because of b1 (likeness 0.83)"),
    ],
)
def test_words_say_what_is_known_and_no_more(explanation: Explanation, words: str) -> None:
    assert words in in_words(explanation)
