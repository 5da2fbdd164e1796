from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.ranker.calibration import level, platt


def test_platt_recovers_the_scale_and_shift_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=200_000)
    labels = rng.random(200_000) < 1 / (1 + np.exp(-(0.5 * logits - 3.0)))
    scale, shift = platt(logits, labels)
    np.testing.assert_allclose([scale, shift], [0.5, -3.0], atol=0.05)


def test_platt_without_positives_stays_finite_and_low() -> None:
    scale, shift = platt(np.linspace(-1, 1, 100), np.zeros(100, np.bool_))
    assert 0 < scale < 100
    assert -10 < shift < -3


def test_the_level_makes_the_mean_probability_the_part_that_was_done() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=5000) * 4 + 7
    labels = rng.random(5000) < 0.02
    shift = level(logits, labels)
    assert np.mean(1 / (1 + np.exp(-(logits + shift)))) == pytest.approx(labels.mean(), rel=0.02)


@pytest.mark.parametrize("labels", [np.zeros(100, np.bool_), np.ones(100, np.bool_)])
def test_the_level_of_what_nobody_or_everybody_did_is_finite(labels: NDArray[np.bool_]) -> None:
    part = 1 / (1 + np.exp(-level(np.zeros(100), labels)))
    assert part == pytest.approx((labels.sum() + 1) / 102)
