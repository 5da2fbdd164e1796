"""Trains the item tower and the user tower together."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import TowerConfig, TowerTraining
from training.data.dataset import Interactions
from training.features.spectral import spectral_vectors
from training.progress import Report
from training.towers.batches import Batch, BatchSampler
from training.towers.item_tower import build_item_tower, encode_items
from training.towers.recall import RecallProbe
from training.towers.user_tower import build_user_tower
from training.towers.warm_start import warm_start
from twostage.features.actions import ActionSchema
from twostage.features.item_encoding import EncodedItems, ItemEncoder
from twostage.features.model_inputs import HISTORY_MASK, HISTORY_VECTORS

_LOWEST_TEMPERATURE = 0.02
_TEMPERATURE_RATE = 0.01


@dataclass(frozen=True)
class Towers:
    """Trained towers.

    Args:
        encoder: The item encoding that the item tower reads.
        item_tower: Content to item vector.
        user_tower: History to user vector.
        item_vectors: float32[N, D], every item's vector, L2-normalised.
        best_recall: The validation recall that they reached; NaN when nobody could be validated on.
        epoch_count: Epochs trained.
    """

    encoder: ItemEncoder
    item_tower: keras.Model
    user_tower: keras.Model
    item_vectors: NDArray[np.float32]
    best_recall: float
    epoch_count: int


class _TowerStep:
    """One optimiser step over a batch, compiled once."""

    def __init__(
        self,
        item_tower: keras.Model,
        user_tower: keras.Model,
        items: EncodedItems,
        log_popularity: NDArray[np.float32],
        config: TowerTraining,
    ) -> None:
        steps = max(config.max_epoch_count * config.steps_per_epoch, 1)
        self._item_tower, self._user_tower = item_tower, user_tower
        self._content = {name: tf.constant(array) for name, array in items.arrays().items()}
        self._discount = tf.constant((1.0 - config.correction) * log_popularity)
        self._log_temperature = tf.Variable(math.log(config.temperature), dtype=tf.float32)
        self._optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(config.learning_rate, steps, alpha=0.1), global_clipnorm=5.0
        )
        # The item tower comes warm and large; the user tower is small and starts from the plain mean.
        self._user_optimizer = keras.optimizers.Adam(config.user_learning_rate, global_clipnorm=5.0)
        self._optimizer.build(item_tower.trainable_variables)
        self._user_optimizer.build(user_tower.trainable_variables)
        # Vectors of items outside the batch, as of when they were last encoded: at most some ten steps old.
        self.table = tf.Variable(encode_items(item_tower, items), trainable=False)
        self.run = tf.function(self._run)

    @property
    def temperature(self) -> float:
        """The temperature as learned so far."""
        return float(tf.exp(self._log_temperature))

    def inputs(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        """A batch as tensors."""
        return tuple(
            tf.constant(array)
            for array in (
                batch.items,
                batch.targets,
                batch.history_rows,
                batch.history_mask,
                batch.history_positions,
                batch.excluded,
            )
        )

    def _run(
        self,
        rows: tf.Tensor,
        targets: tf.Tensor,
        history_rows: tf.Tensor,
        history_mask: tf.Tensor,
        history_positions: tf.Tensor,
        excluded: tf.Tensor,
    ) -> tf.Tensor:
        content = {name: tf.gather(array, rows) for name, array in self._content.items()}
        with tf.GradientTape() as tape:
            encoded = self._item_tower(content, training=True)
            fresh = tf.gather(encoded, tf.maximum(history_positions, 0))
            stale = tf.gather(self.table, history_rows)
            history = tf.where(history_positions[:, :, None] >= 0, fresh, stale)
            users = self._user_tower({HISTORY_VECTORS: history, HISTORY_MASK: history_mask}, training=True)
            temperature = tf.maximum(tf.exp(self._log_temperature), _LOWEST_TEMPERATURE)
            logits = tf.matmul(users, encoded, transpose_b=True) / temperature
            logits += tf.gather(self._discount, rows)[None, :]
            logits = tf.where(excluded, -1e9, logits)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits))
        item_variables, user_variables = self._item_tower.trainable_variables, self._user_tower.trainable_variables
        of_items, of_users, of_temperature = tape.gradient(
            loss, (item_variables, user_variables, self._log_temperature)
        )
        self._optimizer.apply(of_items, item_variables)
        self._user_optimizer.apply(of_users, user_variables)
        self._log_temperature.assign_sub(_TEMPERATURE_RATE * of_temperature)
        self.table.scatter_nd_update(rows[:, None], encoded)
        return loss


def fit_towers(
    encoder: ItemEncoder,
    items: EncodedItems,
    training_taste: Interactions,
    validation_taste: Interactions,
    actions: ActionSchema,
    sizes: TowerConfig,
    config: TowerTraining,
    seed: int,
    report: Report,
) -> Towers:
    """Trains both towers with a softmax over the batch's items, and keeps the epoch with the best recall.

    Args:
        encoder: The item encoding.
        items: Every item's content, encoded.
        training_taste: Taste to learn from.
        validation_taste: Taste whose recall, over the whole catalogue, decides when to stop.
        actions: The data set's actions.
        sizes: Sizes of the towers.
        config: The schedule.
        seed: Seeds batches and validation people; layers are seeded by make_deterministic.
        report: Told of each epoch.

    Raises:
        ValueError: Nobody has two items to learn from.
    """
    sampler = BatchSampler(training_taste, len(items), config, seed)
    probe = RecallProbe.draw(training_taste, validation_taste, actions, config.validation_user_count, seed)
    item_tower, user_tower = build_item_tower(encoder, sizes), build_user_tower(sizes)
    targets = spectral_vectors(training_taste, len(items), sizes.vector_size, seed)
    cosine = warm_start(item_tower, items, targets, config, seed, report)
    report.note(f"warm start: cosine {cosine:.3f}")
    step = _TowerStep(item_tower, user_tower, items, sampler.log_popularity, config)
    started, best_epoch, epoch = time.monotonic(), 0, 0
    best_weights = (item_tower.get_weights(), user_tower.get_weights())
    k = max(1, min(config.recall_count, len(items) // 10))
    best = probe.measure(user_tower, step.table.numpy(), k)
    report.note(f"before the joint training: recall@{k} {best:.4f}")
    for epoch in range(1, config.max_epoch_count + 1):
        losses = [
            step.run(*step.inputs(sampler.draw()))
            for _ in report.steps(config.steps_per_epoch, f"towers, epoch {epoch}/{config.max_epoch_count}")
        ]
        vectors = encode_items(item_tower, items)
        step.table.assign(vectors)
        recall = probe.measure(user_tower, vectors, k)
        report.note(
            f"epoch {epoch}: loss {np.mean(losses):.3f}, recall@{k} {recall:.4f}, temperature {step.temperature:.3f}, "
            f"{time.monotonic() - started:.0f} s"
        )
        if math.isnan(recall) or recall > best:
            best, best_epoch = recall, epoch
            best_weights = (item_tower.get_weights(), user_tower.get_weights())
        elif epoch - best_epoch >= config.patience:
            break
        if config.max_seconds is not None and time.monotonic() - started >= config.max_seconds:
            break
    item_tower.set_weights(best_weights[0])
    user_tower.set_weights(best_weights[1])
    return Towers(encoder, item_tower, user_tower, encode_items(item_tower, items), best, epoch)
