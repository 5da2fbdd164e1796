from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from training.experiments.sample_ratio import sample_ratio


@pytest.mark.parametrize(
    ("counts", "weights"),
    [({"a": 510, "b": 490}, {"a": 1, "b": 1}), ({"a": 80, "b": 25, "c": 20}, {"a": 0.7, "b": 0.2, "c": 0.1})],
)
def test_the_p_value_is_that_of_the_chi_square_test(counts: dict[str, int], weights: dict[str, float]) -> None:
    total = sum(counts.values())
    expected = [total * weights[arm] / sum(weights.values()) for arm in counts]
    ratio = sample_ratio(counts, weights)
    assert ratio.p_value == pytest.approx(chisquare(list(counts.values()), expected).pvalue)
    assert list(ratio.expected.values()) == pytest.approx(expected)
    assert not ratio.mismatch


def test_an_arm_that_loses_people_is_found() -> None:
    assert sample_ratio({"a": 50_000, "b": 48_900}, {"a": 1, "b": 1}).mismatch


def test_fair_arms_are_called_a_mismatch_once_in_a_thousand_times() -> None:
    rng = np.random.default_rng(6)
    alarms = sum(
        sample_ratio({"a": int(seen), "b": 3_000 - int(seen)}, {"a": 2, "b": 1}).mismatch
        for seen in rng.binomial(3_000, 2 / 3, 20_000)
    )
    # 20 expected of 20,000, give or take 4.5.
    assert alarms == pytest.approx(20, abs=18)


def test_what_cannot_be_compared_is_no_mismatch_and_an_arm_nobody_planned_is() -> None:
    assert sample_ratio({"a": 7}, {"a": 1}).p_value == 1
    assert sample_ratio({}, {"a": 1, "b": 1}).p_value == 1
    assert sample_ratio({"a": 70, "b": 70, "gone": 1}, {"a": 1, "b": 1}).mismatch
    assert sample_ratio({"a": 70}, {"a": 1, "b": 1}).counts == {"a": 70, "b": 0}
