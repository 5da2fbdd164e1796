from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ranking_service.engine.blend import blend_scores, blend_weights
from twostage.errors import InvalidField

_ACTIONS = ("rated", "liked", "shelved")


def test_a_score_is_the_weighted_mean_of_the_probabilities() -> None:
    weights = blend_weights(_ACTIONS, {"liked": 3.0, "rated": 1.0})
    probabilities = np.array([[0.8, 0.4, 0.9], [0.0, 1.0, 0.0]], np.float32)
    assert blend_scores(probabilities, weights) == pytest.approx([(0.8 + 3 * 0.4) / 4, 0.75])


@given(st.lists(st.floats(0, 1.7e308), min_size=3, max_size=3).filter(lambda w: max(w) > 0))
@example([1.7e308, 1.7e308, 1.7e308])
@example([5e-324, 5e-324, 0.0])
def test_weights_of_any_size_sum_to_one(raw: list[float]) -> None:
    weights = blend_weights(_ACTIONS, dict(zip(_ACTIONS, raw, strict=True)))
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


_WEIGHTS = st.lists(st.floats(0.001, 1000), min_size=3, max_size=3)
_PROBABILITIES = st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=8)


def _blended(probabilities: list[list[float]], raw: list[float]) -> NDArray[np.float64]:
    weights = blend_weights(_ACTIONS, dict(zip(_ACTIONS, raw, strict=True)))
    return blend_scores(np.array(probabilities, np.float32), weights)


@given(_PROBABILITIES, _WEIGHTS, st.floats(1e-6, 1e6))
def test_only_the_proportions_of_weights_matter(
    probabilities: list[list[float]], raw: list[float], factor: float
) -> None:
    scaled = _blended(probabilities, [weight * factor for weight in raw])
    np.testing.assert_allclose(scaled, _blended(probabilities, raw), atol=1e-12)


@given(_PROBABILITIES, _WEIGHTS, st.integers(0, 2), st.floats(0, 1, width=32))
def test_a_likelier_action_never_lowers_a_score(
    probabilities: list[list[float]], raw: list[float], action: int, likelier: float
) -> None:
    raised = [[*row[:action], max(row[action], likelier), *row[action + 1 :]] for row in probabilities]
    assert (_blended(raised, raw) >= _blended(probabilities, raw) - 1e-12).all()


@given(_PROBABILITIES, _WEIGHTS)
def test_a_score_lies_between_the_least_and_the_greatest_probability(
    probabilities: list[list[float]], raw: list[float]
) -> None:
    given_scores = np.array(probabilities, np.float32)
    blended = _blended(probabilities, raw)
    assert (blended >= given_scores.min(axis=1) - 1e-7).all()
    assert (blended <= given_scores.max(axis=1) + 1e-7).all()


@given(_PROBABILITIES, st.sampled_from(_ACTIONS))
def test_an_action_without_a_weight_does_not_count(probabilities: list[list[float]], only: str) -> None:
    alone = blend_scores(np.array(probabilities, np.float32), blend_weights(_ACTIONS, {only: 0.25}))
    expected = np.array(probabilities, np.float32)[:, _ACTIONS.index(only)]
    np.testing.assert_allclose(alone, expected, atol=1e-12)


@given(st.text(max_size=100).filter(lambda name: name not in _ACTIONS))
def test_any_unknown_action_is_named(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        blend_weights(_ACTIONS, {"liked": 1.0, name: 1.0})
    assert refused.value.violations[0].field == f"blend[{name[:64]}]"
    assert refused.value.violations[0].received == name


@pytest.mark.parametrize(
    ("blend", "field", "expected"),
    [
        ({"bought": 1.0}, "blend[bought]", "one of the actions rated, liked, shelved"),
        ({"liked": -0.5}, "blend[liked]", "0 or more"),
        ({"liked": float("nan")}, "blend[liked]", "finite"),
        ({"liked": float("inf")}, "blend[liked]", "finite"),
        ({"liked": 0.0}, "blend", "at least one weight above 0"),
    ],
)
def test_a_wrong_weight_is_refused_by_name(blend: dict[str, float], field: str, expected: str) -> None:
    with pytest.raises(InvalidField) as refused:
        blend_weights(_ACTIONS, blend)
    assert refused.value.violations[0].field == field
    assert expected in refused.value.message
