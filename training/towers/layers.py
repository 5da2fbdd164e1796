"""Layers that the towers share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="twostage")
class MaskedMaxPooling(keras.layers.Layer):
    """The greatest value over time of each channel, over the entries that a mask keeps; zeros when it keeps none."""

    def call(self, values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
        """Pools float[B, L, C] with bool[B, L] to float[B, C]."""
        # The channels come from a ReLU, so that zero is the least value they take.
        return tf.reduce_max(values * tf.cast(kept[:, :, None], values.dtype), axis=1)


@keras.saving.register_keras_serializable(package="twostage")
class BagSum(keras.layers.Layer):
    """The sum of a bag's token embeddings over the square root of their number, bag by bag.

    Args:
        vocabulary_size: One more than the greatest token id; 0 is padding.
        size: Size of an embedding.
        bucket_count: Ids 1..bucket_count are those of unknown tokens.
        token_dropout: Rate at which training turns a known token into an unknown one.
    """

    def __init__(
        self, vocabulary_size: int, size: int, bucket_count: int, token_dropout: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self.vocabulary_size = vocabulary_size
        self.size = size
        self.bucket_count = bucket_count
        self.token_dropout = token_dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape: Any) -> None:  # noqa: ARG002 - Keras's signature
        """Creates the embeddings."""
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.vocabulary_size, self.size),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
        )

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps int32[B, F, K] to float32[B, F * size]."""
        present = ids > 0
        if training and self.token_dropout > 0:
            drawn = keras.random.uniform(tf.shape(ids), seed=self.seed_generator)
            ids = tf.where(present & (drawn < self.token_dropout), 1 + ids % self.bucket_count, ids)
        weights = tf.cast(present, tf.float32)
        total = tf.einsum("bfk,bfkd->bfd", weights, tf.gather(self.embeddings, ids))
        count = tf.reduce_sum(weights, axis=2, keepdims=True)
        pooled = total * tf.math.rsqrt(tf.maximum(count, 1.0))
        return tf.reshape(pooled, [-1, ids.shape[1] * self.size])

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "size": self.size,
            "bucket_count": self.bucket_count,
            "token_dropout": self.token_dropout,
        }


@keras.saving.register_keras_serializable(package="twostage")
class UnitLength(keras.layers.Layer):
    """Divides vectors by their Euclidean length; a vector of zeros stays one."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Maps float[B, D] to float[B, D]."""
        return tf.math.l2_normalize(vectors, axis=-1)


@keras.saving.register_keras_serializable(package="twostage")
class AttentionWeights(keras.layers.Layer):
    """A masked softmax over scores; zeros when the mask is empty."""

    def call(self, scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Weighs by float[B, L] with mask float[B, L] of ones and zeros to float[B, L], of sum 1."""
        return _masked_softmax(scores, mask)


@keras.saving.register_keras_serializable(package="twostage")
class WeightedSum(keras.layers.Layer):
    """The sum of values by weights."""

    def call(self, values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Pools float[B, L, D] by float[B, L] to float[B, D]."""
        return tf.einsum("bl,bld->bd", weights, values)


@keras.saving.register_keras_serializable(package="twostage")
class AttentionPooling(keras.layers.Layer):
    """A masked softmax over scores, and the weighted sum it makes of the values; zeros when the mask is empty."""

    def call(self, values: tf.Tensor, scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Pools float[B, L, D] by float[B, L] with mask float[B, L] of ones and zeros to float[B, D]."""
        return tf.einsum("bl,bld->bd", _masked_softmax(scores, mask), values)


def _masked_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    # The large negative number keeps padding out of the softmax; the product empties it when all is padding.
    return tf.nn.softmax(scores + (1.0 - mask) * -1e9, axis=-1) * mask
