from __future__ import annotations

import numpy as np

from training.ranker.calibration import platt


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
