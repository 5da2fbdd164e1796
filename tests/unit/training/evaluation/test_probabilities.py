from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.probabilities import auc, auc_by_list, log_loss, log_loss_by_list


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=12))
def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_as_half(pairs: list[tuple[bool, int]]) -> None:
    positive = [score for label, score in pairs if label]
    negative = [score for label, score in pairs if not label]
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    value = auc(
        np.array([label for label, _ in pairs], dtype=bool), np.array([score for _, score in pairs], dtype=float)
    )
    assert value == pytest.approx(np.mean(wins)) if wins else math.isnan(value)


def test_padding_changes_no_list() -> None:
    labels = np.array([[True, False, False, True, True]])
    scores = np.array([[0.9, 0.1, 0.4, 0.4, 0.99]])
    present = np.array([[True, True, True, True, False]])
    assert auc_by_list(labels, scores, present)[0] == pytest.approx(3.5 / 4)
    losses = [math.log(0.9), math.log(0.9), math.log(0.6), math.log(0.4)]
    assert log_loss_by_list(labels, scores, present)[0] == pytest.approx(-sum(losses) / 4)


def test_auc_of_one_sided_lists_is_undefined() -> None:
    labels = np.array([[True, True], [False, False]])
    assert np.isnan(auc_by_list(labels, np.zeros((2, 2)))).all()


def test_log_loss_of_a_coin_is_one_nat_half() -> None:
    assert log_loss(np.array([True, False]), np.array([0.5, 0.5])) == pytest.approx(math.log(2))


def test_one_certain_mistake_is_finite() -> None:
    assert log_loss(np.array([True]), np.array([0.0], dtype=np.float32)) == pytest.approx(-math.log(1e-7))


def test_an_empty_list_has_no_loss() -> None:
    assert math.isnan(log_loss(np.zeros(0, dtype=bool), np.zeros(0)))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one shape, got"):
        auc_by_list(np.zeros((1, 2), dtype=bool), np.zeros((1, 3)))


def test_a_probability_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[0, 1\], got 0.5 to 1.5"):
        log_loss(np.array([True, False]), np.array([0.5, 1.5]))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="got NaN"):
        auc(np.array([True, False]), np.array([0.5, np.nan]))
