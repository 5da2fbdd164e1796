from __future__ import annotations

import numpy as np

from tests.unit.training.tiny_dataset import tiny_dataset
from training.config import TowerConfig
from training.features.histories import taste_of
from training.towers.recall import RecallProbe
from training.towers.user_tower import build_user_tower


def test_recall_is_that_of_the_mean_vector_by_brute_force() -> None:
    dataset = tiny_dataset()
    taste = dataset.interactions.take(taste_of(dataset.interactions, dataset.actions))
    held_out = np.arange(len(taste)) % 5 == 0
    known, hidden = taste.take(~held_out), taste.take(held_out)
    vectors = np.random.default_rng(0).normal(size=(150, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shares = []
    for user in range(160):
        mine, relevant = known.rows[known.users == user], hidden.rows[hidden.users == user]
        relevant = np.setdiff1d(relevant, mine)
        if len(mine) == 0 or len(relevant) == 0:
            continue
        # A new user tower weighs all entries alike.
        scores = vectors @ vectors[mine].mean(axis=0)
        scores[mine] = -np.inf
        found = set(np.argsort(-scores)[:20].tolist()) & set(relevant.tolist())
        shares.append(len(found) / min(20, len(relevant)))
    probe = RecallProbe.draw(known, hidden, dataset.actions, 1000, seed=0)
    tower = build_user_tower(TowerConfig(vector_size=16))
    np.testing.assert_allclose(probe.measure(tower, vectors, 20), np.mean(shares), atol=1e-6)


def test_without_anybody_recall_is_unknown() -> None:
    dataset = tiny_dataset()
    nothing = dataset.interactions.take(np.zeros(0, np.int64))
    probe = RecallProbe.draw(dataset.interactions, nothing, dataset.actions, 10, seed=0)
    assert np.isnan(probe.measure(build_user_tower(TowerConfig(vector_size=16)), np.eye(16, dtype=np.float32), 5))
