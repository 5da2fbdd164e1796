from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from training import runtime
from training.commands.options import RANKER_LOSSES
from training.config import RankerTraining
from training.ranker.losses import LOSSES, LossWeights, listwise_loss, pairwise_loss, pointwise_loss, ranker_loss

runtime.make_deterministic(0)

PEOPLE, ENTRIES, ACTIONS, POSITIVES = 5, 9, 3, 4
Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def drawn(seed: int = 0) -> Arrays:
    """Logits, labels and weights; positives stand first, some entries are padding, one person has no positive."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(PEOPLE, ENTRIES, ACTIONS)).astype(np.float32) * 2
    labels = (rng.random((PEOPLE, ENTRIES, ACTIONS)) < 0.5).astype(np.float32)
    labels[:, POSITIVES:] = 0
    labels[4] = 0
    weights = rng.choice([0.0, 1.0, 5.0], (PEOPLE, ENTRIES)).astype(np.float32)
    weights[:, :POSITIVES] = weights[:, :POSITIVES] > 0
    labels *= (weights > 0)[:, :, None]
    return logits, labels, weights


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def pointwise_by_hand(logits: NDArray[np.float32], labels: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    total = 0.0
    for person, entry, action in np.ndindex(*logits.shape):
        chance = sigmoid(float(logits[person, entry, action]))
        likelihood = chance if labels[person, entry, action] else 1 - chance
        total -= float(weights[person, entry]) * math.log(likelihood)
    return total / float(labels.sum())


def pairwise_by_hand(
    logits: NDArray[np.float32], labels: NDArray[np.float32], weights: NDArray[np.float32], ranked: list[int]
) -> float:
    means = []
    for person in range(len(logits)):
        for action in ranked:
            losses, counts = [], []
            for i in range(logits.shape[1]):
                for j in range(logits.shape[1]):
                    if labels[person, i, action] and not labels[person, j, action]:
                        chance = sigmoid(float(logits[person, i, action] - logits[person, j, action]))
                        losses.append(-math.log(chance))
                        counts.append(weights[person, i] * weights[person, j])
            if sum(counts) > 0:
                means.append(np.average(losses, weights=counts))
    return float(np.mean(means))


def listwise_by_hand(
    logits: NDArray[np.float32], labels: NDArray[np.float32], weights: NDArray[np.float32], ranked: list[int]
) -> float:
    means = []
    for person in range(len(logits)):
        for action in ranked:
            # An entry of weight w is as good as w entries of weight 1.
            parts = weights[person] * np.exp(logits[person, :, action].astype(np.float64))
            chosen = labels[person, :, action] > 0
            if chosen.any():
                means.append(-np.mean(np.log(parts[chosen] / parts.sum())))
    return float(np.mean(means))


def tensors(arrays: Arrays) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    logits, labels, weights = map(tf.constant, arrays)
    return logits, labels, weights


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_their_papers_formulae(seed: int) -> None:
    arrays = drawn(seed)
    ranked = tf.constant([1.0, 0.0, 1.0])
    np.testing.assert_allclose(pointwise_loss(*tensors(arrays)), pointwise_by_hand(*arrays), rtol=1e-5)
    np.testing.assert_allclose(pairwise_loss(*tensors(arrays), ranked), pairwise_by_hand(*arrays, [0, 2]), rtol=1e-5)
    np.testing.assert_allclose(listwise_loss(*tensors(arrays), ranked), listwise_by_hand(*arrays, [0, 2]), rtol=1e-5)


def test_pairs_need_only_the_entries_that_may_be_positive() -> None:
    arrays, ranked = tensors(drawn()), tf.ones(ACTIONS)
    np.testing.assert_allclose(
        pairwise_loss(*arrays, ranked, POSITIVES), pairwise_loss(*arrays, ranked, None), rtol=1e-6
    )


def test_an_entry_that_stands_for_three_items_counts_as_three_entries() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1, 4, 1)).astype(np.float32)
    labels = np.array([1, 0, 0, 0], np.float32).reshape(1, 4, 1)
    one = (logits, labels, np.array([[1, 1, 3, 1]], np.float32))
    repeated = [0, 1, 2, 2, 2, 3]
    three = (logits[:, repeated], labels[:, repeated], np.ones((1, 6), np.float32))
    for name, weights in LOSSES.items():
        losses = [ranker_loss(*tensors(arrays), tf.ones(1), weights) for arrays in (one, three)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", LOSSES)
def test_padding_changes_neither_a_loss_nor_its_gradient(name: str) -> None:
    logits, labels, weights = drawn()
    padded = (
        np.concatenate([logits, np.full((PEOPLE, 2, ACTIONS), 50, np.float32)], axis=1),
        np.concatenate([labels, np.zeros((PEOPLE, 2, ACTIONS), np.float32)], axis=1),
        np.concatenate([weights, np.zeros((PEOPLE, 2), np.float32)], axis=1),
    )
    found = []
    for arrays in ((logits, labels, weights), padded):
        variable = tf.Variable(arrays[0])
        with tf.GradientTape() as tape:
            loss = ranker_loss(variable, *tensors(arrays)[1:], tf.ones(ACTIONS), LOSSES[name])
        gradient = tape.gradient(loss, variable).numpy()
        assert not gradient[arrays[2] == 0].any(), "what stands for no item teaches nothing"
        found.append((float(loss), gradient[:, :ENTRIES]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_nothing_to_learn_from_and_huge_logits_are_finite(name: str, scale: float) -> None:
    logits, labels, weights = drawn()
    for arrays in ((logits * scale, labels, weights), (logits, labels * 0, weights), (logits, labels * 0, weights * 0)):
        variable = tf.Variable(arrays[0])
        with tf.GradientTape() as tape:
            loss = ranker_loss(variable, *tensors(arrays)[1:], tf.ones(ACTIONS), LOSSES[name])
        assert np.isfinite(loss)
        assert np.isfinite(tape.gradient(loss, variable)).all()


def test_the_default_is_the_sum_of_cross_entropy_and_softmax() -> None:
    arrays, ranked = drawn(), tf.constant([0.0, 1.0, 1.0])
    assert RankerTraining().loss == RANKER_LOSSES[0] == "mixed"
    expected = pointwise_by_hand(*arrays) + listwise_by_hand(*arrays, [1, 2])
    assert float(ranker_loss(*tensors(arrays), ranked, LOSSES["mixed"])) == pytest.approx(expected, rel=1e-5)


def test_without_cross_entropy_actions_that_no_list_is_ordered_by_are_taught_too() -> None:
    arrays, ranked = drawn(), tf.constant([0.0, 1.0, 1.0])
    loss = ranker_loss(*tensors(arrays), ranked, LOSSES["pairwise"], POSITIVES)
    assert float(loss) == pytest.approx(pairwise_by_hand(*arrays, [0, 1, 2]), rel=1e-5)


def test_the_command_offers_every_loss() -> None:
    assert set(RANKER_LOSSES) == set(LOSSES)


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.0, -1.0, 0.0), (math.nan, 1.0, 0.0), (math.inf, 0.0, 0.0)])
def test_weights_that_make_no_loss_are_refused(weights: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="losses: expected weights of 0 or more"):
        LossWeights(*weights)
