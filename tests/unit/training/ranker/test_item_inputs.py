from __future__ import annotations

import numpy as np

from training.ranker.item_inputs import Standardisation, borrow_from_neighbours


def test_an_item_without_a_vector_borrows_its_twins() -> None:
    vectors = np.eye(30, dtype=np.float32)
    vectors[29] = vectors[3]
    factors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    factors[29] = 0
    filled = borrow_from_neighbours(factors, vectors)
    assert filled[29] @ factors[3] > 0.99
    np.testing.assert_array_equal(filled[:29], factors[:29])


def test_nothing_to_borrow_from_leaves_zeros() -> None:
    assert not borrow_from_neighbours(np.zeros((3, 4), np.float32), np.eye(3, dtype=np.float32)).any()


def test_a_feature_that_did_not_vary_stays_bounded() -> None:
    fitted = Standardisation.fit(np.array([[1.0, 0.0], [1.0, 2.0]], np.float32))
    np.testing.assert_array_equal(fitted.apply(np.array([[50.0, 4.0]], np.float32)), [[8.0, 3.0]])
