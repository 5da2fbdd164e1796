"""How near candidates lie to a history, told by collaborative vectors alone."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from training.ranker.families.ranker import UserBatch
from twostage.features.actions import Action

LEAST_KERNEL = 1e-3
NEARNESS_SCALE = 0.3


def taste_gates(user: UserBatch, taste: Sequence[Action], recorded: Sequence[str]) -> list[tf.Tensor]:
    """Which entries were taste, by kind.

    Args:
        user: The user side.
        taste: The T actions that are taste.
        recorded: The recorded actions, whose positions + 1 the user side holds.

    Returns:
        For each taste action float32[B, L, 2]: entries of that action, and of other taste.
    """
    labels = []
    for action in taste:
        source, own = 1 + recorded.index(action.source), 1 + recorded.index(action.name)
        counts = user.actions == source
        if action.min_value is not None:
            counts &= user.values >= action.min_value
        if own != source:
            counts |= user.actions == own
        # An entry of which only the item is known was given as taste.
        counts |= user.actions == 0
        labels.append(tf.cast(counts, tf.float32) * user.mask)
    if not labels:
        return []
    any_taste = labels[0] if len(labels) == 1 else tf.reduce_max(tf.stack(labels), axis=0)
    return [tf.stack([label, any_taste - label], axis=-1) for label in labels]


def taste_shares(gates: Sequence[tf.Tensor], mask: tf.Tensor) -> list[tf.Tensor]:
    """For each taste action float32[B, 1]: the part of the history that is of that action; 0 without a history."""
    count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
    return [tf.reduce_sum(gate[:, :, 0], axis=1, keepdims=True) / count for gate in gates]


def gate_matrix(gates: Sequence[tf.Tensor]) -> tf.Tensor:
    """The gates of T taste actions in one matrix, float32[B, L T, 2 T], T at least 1: each fills its own block."""
    zeros = [tf.zeros_like(gate) for gate in gates]
    columns = [
        tf.concat([*zeros[:position], gate, *zeros[position + 1 :]], axis=-1) for position, gate in enumerate(gates)
    ]
    return tf.concat(columns, axis=1)


def nearness(candidates: tf.Tensor, history: tf.Tensor, gates: tf.Tensor, factor_size: int) -> tf.Tensor:
    """How near candidates lie to the history.

    Similarities are summed over the history as item-kNN does (M. Deshpande and G. Karypis, *Item-Based Top-N
    Recommendation Algorithms*, 2004), in their first, third and sixth powers, of which the high ones count near
    neighbours alone (the case amplification of J. Breese, D. Heckerman and C. Kadie, 1998).

    Args:
        candidates: float32[.., n, T K], collaborative vectors of unit length.
        history: float32[.., L, T K], those of the history.
        gates: float32[.., L T, 2 T], see :func:`gate_matrix`.
        factor_size: K.

    Returns:
        float32[.., n, 6 T], scaled logarithms: by power, then by taste action, own kind before other kinds.
    """
    cosines = [
        tf.matmul(
            candidates[..., start : start + factor_size], history[..., start : start + factor_size], transpose_b=True
        )
        for start in range(0, history.shape[-1], factor_size)
    ]
    near = tf.nn.relu(tf.concat(cosines, axis=-1) if len(cosines) > 1 else cosines[0])
    third = near * near * near
    kernels = [tf.matmul(power, gates) for power in (near, third, third * third)]
    return tf.math.log(LEAST_KERNEL + tf.concat(kernels, axis=-1)) * NEARNESS_SCALE
