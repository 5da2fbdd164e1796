from __future__ import annotations

import numpy as np

from training.data.dataset import Interactions
from training.ranker.item_inputs import Standardisation, as_if_new, borrow_from_neighbours, make_item_inputs
from twostage.features.actions import Action, ActionSchema


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


def interactions_of(rows: list[int]) -> Interactions:
    count = len(rows)
    return Interactions(
        user_ids=[str(user) for user in range(count)],
        recorded=("bought",),
        users=np.arange(count, dtype=np.int32) // 2,
        rows=np.array(rows, np.int32),
        actions=np.zeros(count, np.int16),
        values=np.full(count, np.nan, np.float32),
    )


def test_a_new_item_is_taken_for_an_average_one() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    items = make_item_inputs(
        vectors, interactions_of([0, 1, 0, 2, 1, 2, 3, 0]), ActionSchema((Action("bought", "bought"),)), 2, seed=0
    )
    assert items.unseen.tolist() == [False, False, False, False, True, True]
    assert not items.features[4:].any()
    assert items.features[:4].any(axis=1).all()


def test_an_item_shown_as_new_is_seen_through_its_neighbours_alone() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = generator.integers(0, 40, 400).tolist()
    items = make_item_inputs(vectors, interactions_of(rows), ActionSchema((Action("bought", "bought"),)), 3, seed=0)
    shown = as_if_new(items, np.array([7, 11]))
    without = items.factors[:, 0].copy()
    without[[7, 11]] = 0
    np.testing.assert_allclose(shown[:, 0], borrow_from_neighbours(without, vectors)[[7, 11]], atol=1e-6)
    assert np.abs(shown - items.factors[[7, 11]]).max() > 0.01
