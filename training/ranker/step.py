"""One optimiser step of a ranker, compiled once."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.ranker.candidates import Requests
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.item_inputs import ItemInputs, as_if_new
from training.ranker.lists import SampledLists
from training.ranker.losses import LossWeights, ranker_loss
from training.ranker.scorer import user_arrays

_PRETENDED_COUNT = 5000
_PRETENDED_SHARE = 0.5


class RankerStep:
    """Steps of AdamW along a cosine, on lists of one shape.

    Args:
        model: The ranker.
        items: The items as of the examples' past.
        losses: What it is taught by.
        learning_rate: The rate at the start; it falls to a twentieth.
        step_count: How many steps the fall takes.
        positive_count: How many entries of a list may be positive, the first ones.
        rng: Draws the items that are shown as if they were new.
    """

    def __init__(
        self,
        model: Ranker,
        items: ItemInputs,
        losses: LossWeights,
        learning_rate: float,
        step_count: int,
        positive_count: int,
        rng: np.random.Generator,
    ) -> None:
        self._model = model
        self._losses = losses
        self._positive_count = positive_count
        self._vectors, self._features = tf.constant(items.vectors), tf.constant(items.features)
        self._factors = tf.constant(items.factors.reshape(len(items), -1))
        # A few items are now and then shown as if they were new, or the ranker would never learn what to make of those.
        pretended = np.flatnonzero(~items.unseen)
        pretended = rng.permutation(pretended)[: min(_PRETENDED_COUNT, len(pretended) // 5)]
        as_new = items.factors.copy()
        as_new[pretended] = as_if_new(items, pretended)
        may_pretend = np.zeros((len(items), 1), np.float32)
        may_pretend[pretended] = _PRETENDED_SHARE
        self._as_new = tf.constant(as_new.reshape(len(items), -1))
        self._may_pretend = tf.constant(may_pretend)
        self._history = tf.constant(items.history_table)
        weights = [action.weight for action in model.action_schema.actions]
        self._ranked = tf.constant([float(weight > 0) for weight in weights] if any(weights) else [1.0] * len(weights))
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, max(step_count, 1), alpha=0.05)
        self._optimizer = keras.optimizers.AdamW(schedule, weight_decay=1e-4, global_clipnorm=5.0)
        self._optimizer.build(model.trainable_variables)
        self._run = tf.function(self._step)

    def __call__(self, requests: Requests, people: NDArray[np.int64], lists: SampledLists) -> tf.Tensor:
        """Runs a step and returns its loss, a scalar."""
        # Each distinct item passes the item tower once; padding keeps the shape, and so the trace, the same.
        limit = min(lists.rows.size, len(self._vectors))
        unique, positions = np.unique(lists.rows, return_inverse=True)
        unique = np.concatenate([unique, np.zeros(limit - len(unique), unique.dtype)]).astype(np.int32)
        arrays = (
            unique,
            positions.reshape(lists.rows.shape).astype(np.int32),
            lists.scores,
            lists.labels,
            lists.weights,
            *user_arrays(requests, people),
        )
        return self._run(*map(tf.constant, arrays))

    def _step(
        self,
        unique: tf.Tensor,
        positions: tf.Tensor,
        scores: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        history: tf.Tensor,
        *user: tf.Tensor,
    ) -> tf.Tensor:
        batch = UserBatch(tf.gather(self._history, history), *user)
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            chance = tf.gather(self._may_pretend, unique)
            new = tf.cast(tf.random.uniform(tf.shape(chance)) < chance, tf.float32)
            features = tf.gather(self._features, unique) * (1 - new)
            factors = tf.gather(self._factors, unique) * (1 - new) + tf.gather(self._as_new, unique) * new
            encoded = self._model.encode_items(tf.gather(self._vectors, unique), features)
            candidates = tf.concat([tf.gather(encoded, positions), tf.gather(factors, positions)], axis=-1)
            side = self._model.encode_user(batch, training=True)
            logits = self._model.score(side, candidates, scores, training=True)
            loss = ranker_loss(logits, labels, weights, self._ranked, self._losses, self._positive_count)
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss
