from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.ranker.families.papers import ACTIONS, logits_of, made_case, made_ranker, sigmoid
from training import runtime
from training.ranker.families.esmm import ESMM, parents, product_logit
from twostage.features.actions import Action, ActionSchema

runtime.make_deterministic(0)


def test_who_likes_has_rated_and_saving_is_entered_first() -> None:
    assert parents(ACTIONS) == [None, 0, None]


def test_a_chain_goes_by_least_values_not_by_order() -> None:
    schema = ActionSchema(
        (
            Action("loved", source="rated", min_value=5.0),
            Action("rated", source="rated"),
            Action("liked", source="rated", min_value=4.0),
        )
    )
    assert parents(schema) == [2, None, 1]
    logits = logits_of(made_ranker("esmm", schema), made_case(schema))
    assert (logits[:, :, 0] < logits[:, :, 2]).all()
    assert (logits[:, :, 2] < logits[:, :, 1]).all()


def test_of_two_actions_that_mean_the_same_the_earlier_is_entered_first() -> None:
    schema = ActionSchema((Action("seen", source="seen"), Action("watched", source="seen")))
    assert parents(schema) == [None, 0]


def test_what_implies_another_is_never_more_likely() -> None:
    logits = logits_of(made_ranker("esmm"), made_case())
    assert (logits[:, :, 1] < logits[:, :, 0]).all()


def test_the_products_factors_are_the_towers_chances() -> None:
    model, case = made_ranker("esmm"), made_case()
    assert isinstance(model, ESMM)
    table = np.repeat(model.candidate_table(case.vectors, case.features, case.factors)[None], 3, axis=0)
    own = model.own_logits(model.encode_user(case.user), table, case.scores)
    chances = sigmoid(logits_of(model, case))
    np.testing.assert_allclose(chances[..., 1], sigmoid(own[0].numpy()) * sigmoid(own[1].numpy()), rtol=1e-4)


@given(st.floats(-60, 60), st.floats(-60, 60))
def test_the_logit_of_a_product_is_exact_far_from_zero(first: float, second: float) -> None:
    log_chance = -np.logaddexp(0, -first) - np.logaddexp(0, -second)
    log_rest = np.log(-np.expm1(log_chance))
    received = float(product_logit(np.float32(first), np.float32(second)))
    np.testing.assert_allclose(received, log_chance - log_rest, rtol=1e-4, atol=1e-4)
