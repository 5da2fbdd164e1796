"""A first fit of the item tower, so that the joint training starts from sensible vectors."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import TowerTraining
from training.progress import Report
from twostage.features.item_encoding import EncodedItems


def warm_start(
    tower: keras.Model,
    items: EncodedItems,
    targets: NDArray[np.float32],
    config: TowerTraining,
    seed: int,
    report: Report,
) -> float:
    """Fits the item tower's vectors to given ones by cosine.

    From random weights the joint training spends most of its steps on finding out which items go together, which
    a decomposition of the interactions tells within a second.

    Args:
        tower: The item tower, changed in place.
        items: Every item's content.
        targets: float32[N, D] of unit length; items with zeros are left out.
        config: The schedule.
        seed: Seeds the order of items.
        report: Shows progress.

    Returns:
        The mean cosine between vectors and targets over the last epoch, dropout included; NaN without targets.
    """
    known = np.flatnonzero(np.abs(targets).sum(axis=1) > 0)
    batch = min(config.warm_start_batch_size, len(known))
    if batch == 0 or config.warm_start_epoch_count == 0:
        return float("nan")
    per_epoch = len(known) // batch
    schedule = keras.optimizers.schedules.CosineDecay(
        config.warm_start_learning_rate, config.warm_start_epoch_count * per_epoch, alpha=0.05
    )
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=5.0)
    optimizer.build(tower.trainable_variables)
    content = {name: tf.constant(array) for name, array in items.arrays().items()}
    wanted = tf.constant(targets)

    @tf.function
    def step(rows: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            vectors = tower({name: tf.gather(array, rows) for name, array in content.items()}, training=True)
            cosine = tf.reduce_mean(tf.reduce_sum(vectors * tf.gather(wanted, rows), axis=1))
            loss = 1.0 - cosine
        optimizer.apply(tape.gradient(loss, tower.trainable_variables), tower.trainable_variables)
        return cosine

    rng = np.random.default_rng(seed)
    cosines: list[float] = []
    for _ in report.steps(config.warm_start_epoch_count, "item tower, warm start"):
        order = rng.permutation(known)[: per_epoch * batch].reshape(per_epoch, batch)
        cosines = [float(step(tf.constant(rows.astype(np.int32)))) for rows in order]
    return float(np.mean(cosines))
