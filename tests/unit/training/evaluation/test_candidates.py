from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.candidates import measure_candidates


def test_pooled_and_per_person_figures_of_two_lists() -> None:
    labels = np.array([[True, False], [True, False]])
    probabilities = np.array([[0.6, 0.5], [0.3, 0.4]])
    measured = measure_candidates(labels, probabilities, resample_count=200)
    # Pooled: 0.6 beats both negatives, 0.3 neither. Per person: the first is right, the second wrong.
    assert measured["auc"].mean == pytest.approx(0.5)
    assert measured["person_auc"].mean == pytest.approx(0.5)
    assert (measured["person_auc"].low, measured["person_auc"].high) == (0.0, 1.0)
    expected = -np.mean(np.log([0.6, 0.5, 0.3, 0.6]))
    assert measured["log_loss"].mean == pytest.approx(expected)
    assert measured["person_log_loss"].mean == pytest.approx(expected)


def test_padding_is_left_out_of_the_pool() -> None:
    labels = np.array([[True, False, True], [True, False, False]])
    probabilities = np.array([[0.6, 0.5, 0.0], [0.3, 0.4, 0.2]])
    present = np.array([[True, True, False], [True, True, False]])
    assert measure_candidates(labels, probabilities, present) == measure_candidates(labels[:, :2], probabilities[:, :2])
