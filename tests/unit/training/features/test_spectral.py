from __future__ import annotations

import numpy as np

from tests.unit.training.tiny_dataset import tiny_dataset
from training.features.spectral import spectral_vectors
from training.features.statistics import item_statistics


def test_vectors_are_the_normalised_singular_vectors_of_the_scaled_matrix() -> None:
    past = tiny_dataset().interactions
    item_count = 150
    chosen = np.zeros((160, item_count))
    chosen[past.users, past.rows] = 1
    scaled = chosen / np.sqrt(np.maximum(chosen.sum(1, keepdims=True), 1) * np.maximum(chosen.sum(0), 1))
    _, values, right = np.linalg.svd(scaled, full_matrices=False)
    expected = right.T * values**0.5
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = spectral_vectors(past, item_count, item_count, seed=0)
    # Singular vectors have no sign of their own, so that products are compared.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=0.01)


def test_an_item_that_nobody_chose_has_zeros() -> None:
    past = tiny_dataset().interactions
    past = past.take(past.rows != 7)
    vectors = spectral_vectors(past, 150, 8, seed=0)
    assert not vectors[7].any()
    np.testing.assert_allclose(np.linalg.norm(np.delete(vectors, 7, axis=0), axis=1), 1, rtol=1e-5)


def test_no_interactions_give_zeros() -> None:
    past = tiny_dataset().interactions
    assert not spectral_vectors(past.take(np.zeros(0, np.int64)), 150, 8, seed=0).any()


def test_statistics_count_actions_and_recent_taste() -> None:
    dataset = tiny_dataset(timed=True)
    past = dataset.interactions
    assert past.times is not None
    statistics = item_statistics(past, 150, dataset.actions)
    row = 11
    mine = past.rows == row
    liked = mine & (past.actions == 0) & (past.values >= 4)
    saved = mine & (past.actions == 1)
    recent = (liked | saved) & (past.times >= past.times.max() - 14 * 86_400)
    np.testing.assert_allclose(statistics[row, 1], np.log1p(liked.sum()), rtol=1e-6)
    np.testing.assert_allclose(statistics[row, 2], np.log1p(saved.sum()), rtol=1e-6)
    np.testing.assert_allclose(statistics[row, 7], np.log1p(recent.sum()), rtol=1e-6)


def test_an_unseen_item_has_the_mean_value_and_is_flagged() -> None:
    dataset = tiny_dataset()
    past = dataset.interactions.take(dataset.interactions.rows != 4)
    statistics = item_statistics(past, 150, dataset.actions)
    mean = float(np.nanmean(past.values))
    np.testing.assert_allclose(statistics[4], [0, 0, 0, mean, 0, 0, 0, 0, 0], rtol=1e-5)
