"""The user tower: the vectors of a recent history to a vector."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import TowerConfig
from training.towers.layers import AttentionWeights, UnitLength, WeightedSum
from twostage.features.history import HISTORY_LENGTH
from twostage.features.model_inputs import HISTORY_MASK, HISTORY_VECTORS, HISTORY_WEIGHTS, USER_VECTOR


def build_user_tower(config: TowerConfig) -> keras.Model:
    """Builds the attention-pooled user tower.

    Each entry of the history is scored by a tanh layer and a linear one; their softmax weighs the entries (the
    attention of Z. Yang et al., *Hierarchical Attention Networks for Document Classification*, 2016).

    Args:
        config: The tower's sizes.

    Returns:
        A model from ``history_vectors`` float32[B, 50, D] and ``history_mask`` float32[B, 50] to ``user_vector``
        float32[B, D], L2-normalised, zeros for an empty history.
    """
    layers = keras.layers
    vectors = keras.Input((HISTORY_LENGTH, config.vector_size), dtype="float32", name=HISTORY_VECTORS)
    mask = keras.Input((HISTORY_LENGTH,), dtype="float32", name=HISTORY_MASK)
    hidden = layers.Dense(config.attention_size, activation="tanh", name="attention")(vectors)
    scores = layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="score")(hidden)
    weights = AttentionWeights(name=HISTORY_WEIGHTS)(layers.Reshape((HISTORY_LENGTH,))(scores), mask)
    pooled = WeightedSum(name="pooled")(vectors, weights)
    return keras.Model(
        inputs={HISTORY_VECTORS: vectors, HISTORY_MASK: mask},
        outputs=UnitLength(name=USER_VECTOR)(pooled),
        name="user_tower",
    )


def with_history_weights(tower: keras.Model) -> keras.Model:
    """A model of the tower's layers that also answers what each entry weighs.

    Args:
        tower: A tower of :func:`build_user_tower`.

    Returns:
        A model of the same inputs to a dict of ``user_vector`` float32[B, D] and ``history_weights`` float32[B, 50].
    """
    weights = tower.get_layer(HISTORY_WEIGHTS).output
    return keras.Model(inputs=tower.input, outputs={USER_VECTOR: tower.output, HISTORY_WEIGHTS: weights})


def encode_users(
    tower: keras.Model,
    item_vectors: NDArray[np.float32],
    history_rows: NDArray[np.integer],
    history_mask: NDArray[np.float32],
    batch_size: int = 2048,
) -> NDArray[np.float32]:
    """Encodes padded histories.

    Args:
        tower: A tower of :func:`build_user_tower`.
        item_vectors: float32[N, D], every item's vector.
        history_rows: int[U, 50], right-padded.
        history_mask: float32[U, 50], 1 where there is an entry.
        batch_size: People per call.

    Returns:
        float32[U, D].
    """
    table = tf.constant(item_vectors)

    @tf.function(reduce_retracing=True)
    def infer(rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return tower({HISTORY_VECTORS: tf.gather(table, rows), HISTORY_MASK: mask}, training=False)

    parts = [
        infer(
            tf.constant(history_rows[start : start + batch_size].astype(np.int32)),
            tf.constant(history_mask[start : start + batch_size]),
        ).numpy()
        for start in range(0, len(history_rows), batch_size)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, item_vectors.shape[1]), np.float32)
