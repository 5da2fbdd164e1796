from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
