from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.unit.training.tiny_dataset import ACTIONS
from training import runtime
from training.config import RankerConfig
from training.ranker.families.content import ContentRanker
from training.ranker.families.ranker import UserBatch
from training.ranker.families.registry import build_ranker

runtime.make_deterministic(0)

SIZES = RankerConfig(factor_size=8, user_sizes=(32, 16), item_sizes=(32, 16), head_sizes=(16, 8))
LIKED, SAVED = 1, 2


def _factors(count: int, seed: int) -> NDArray[np.float32]:
    factors = np.random.default_rng(seed).normal(size=(count, 2, 8)).astype(np.float32)
    factors /= np.linalg.norm(factors, axis=2, keepdims=True)
    return factors


def _user(factors: NDArray[np.float32], actions: list[int], values: list[float], mask: list[float]) -> UserBatch:
    features = np.concatenate([np.zeros((len(actions), 4), np.float32), factors.reshape(len(actions), -1)], axis=1)
    return UserBatch(
        tf.constant(features[None]),
        tf.constant([mask]),
        tf.constant([actions], tf.int32),
        tf.constant([values]),
        tf.zeros((1, len(actions))),
        tf.zeros((1, 6)),
    )


def test_an_untrained_ranker_scores_each_action_by_nearness_to_what_got_the_same_action() -> None:
    model = build_ranker("content", SIZES, ACTIONS, vector_size=4, feature_count=3)
    candidates, history = _factors(30, 0), _factors(5, 1)
    # Two ratings of which one is a like, two saves, and padding.
    user = _user(history, [1, 1, 2, 2, 1], [5.0, 2.0, 0.0, 0.0, 5.0], [1.0, 1.0, 1.0, 1.0, 0.0])
    table = model.candidate_table(np.zeros((30, 4), np.float32), np.zeros((30, 3), np.float32), candidates)
    logits = model.score(model.encode_user(user), tf.constant(table[None]), tf.zeros((1, 30)))[0].numpy()
    for action, taste, entries in ((LIKED, 0, [0]), (SAVED, 1, [2, 3])):
        cosines = candidates[:, taste] @ history[entries, taste].T
        kernel = (np.maximum(cosines, 0) ** 6).sum(axis=1)
        np.testing.assert_allclose(logits[:, action], np.log(1e-3 + kernel), atol=1e-4)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="item_sizes: expected the last to be 16, the head's first, got 32"):
        build_ranker("content", RankerConfig(item_sizes=(32,), head_sizes=(16, 8)), ACTIONS, 4, 3)


def test_calibration_moved_into_the_head_leaves_scores_as_they_were() -> None:
    model = build_ranker("content", SIZES, ACTIONS, vector_size=4, feature_count=3)
    assert isinstance(model, ContentRanker)
    model.scale.assign([0.5, 2.0, 1.0])
    model.shift.assign([-1.0, 0.0, 3.0])
    factors = _factors(30, 0)
    table = model.candidate_table(np.zeros((30, 4), np.float32), np.zeros((30, 3), np.float32), factors)
    user = _user(_factors(2, 1), [1, 2], [5.0, 0.0], [1.0, 1.0])

    def logits() -> NDArray[np.float32]:
        scored: NDArray[np.float32] = model.score(model.encode_user(user), tf.constant(table[None]), tf.ones((1, 30)))
        return np.asarray(scored)

    before = logits()
    model.absorb_calibration()
    np.testing.assert_allclose(logits(), before, atol=1e-5)
    np.testing.assert_array_equal(model.scale.numpy(), np.ones(3))
    np.testing.assert_array_equal(model.shift.numpy(), np.zeros(3))
