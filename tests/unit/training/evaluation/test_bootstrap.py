from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.bootstrap import bootstrap


def test_interval_of_a_mean_matches_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(size=(500, 1))
    (estimate,) = bootstrap(values, resample_count=2000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_a_narrower_confidence_gives_a_narrower_interval() -> None:
    values = np.random.default_rng(1).normal(size=(300, 1))
    wide, narrow = bootstrap(values)[0], bootstrap(values, confidence=0.5)[0]
    assert wide.low is not None
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.high is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.random.default_rng(1).normal(size=(50, 2))
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4) != bootstrap(values, seed=5)


def test_undefined_values_are_left_out_of_their_own_column_alone() -> None:
    values = np.array([[1.0, 1.0], [np.nan, 5.0], [3.0, 3.0]])
    first, second = bootstrap(values)
    assert (first.mean, second.mean) == (2.0, 3.0)
    assert (first.low, first.high) == (1.0, 3.0)


def test_a_column_without_values_has_no_interval() -> None:
    (estimate,) = bootstrap(np.full((4, 1), np.nan))
    assert math.isnan(estimate.mean)
    assert estimate.low is None


def test_no_resamples_give_means_alone() -> None:
    (estimate,) = bootstrap(np.array([[1.0], [2.0]]), resample_count=0)
    assert (estimate.mean, estimate.low, estimate.high) == (1.5, None, None)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="resample_count: expected 0 or more, got -1"):
        bootstrap(np.ones((1, 1)), resample_count=-1)
    with pytest.raises(ValueError, match=r"confidence: .* got 95"):
        bootstrap(np.ones((1, 1)), confidence=95)
