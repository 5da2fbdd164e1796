"""A vector of factors for each field, as factorization machines read them."""

from __future__ import annotations

import keras
import tensorflow as tf

from training.ranker.families.fields import Person
from training.ranker.families.layers import ContentEmbedding, small_kernel


class FieldEmbeddings(keras.layers.Layer):
    """Embeds six fields: history, profile, item, statistics, retrieval score and nearness.

    A feature's embedding is its value times its vector, a field's the sum over its features (Guo et al., 2017, section
    2.1), which is one matrix per field. The item's is computed from its vector by hidden layers, where papers look one
    up by id.

    Args:
        size: Size k of an embedding.
        item: Embeds the item's vector.
    """

    def __init__(self, size: int, item: ContentEmbedding) -> None:
        super().__init__(name="field_embeddings")
        self.history, self.profile, self.statistics, self.retrieval, self.nearness = (
            keras.layers.Dense(size, use_bias=False, kernel_initializer=small_kernel(), name=name)
            for name in ("history", "profile", "statistics", "retrieval", "nearness")
        )
        self.item = item
        # Only its methods are called, and the layers in it are built by those.
        self.built = True

    def of_person(self, person: Person) -> list[tf.Tensor]:
        """Two fields, each float32[B, 1, k]."""
        return [self.history(person.history)[:, None, :], self.profile(person.profile)[:, None, :]]

    def of_items(self, vectors: tf.Tensor, features: tf.Tensor) -> list[tf.Tensor]:
        """Two fields, each float32[n, k]."""
        return [self.item(vectors), self.statistics(features)]

    def of_match(self, match: tf.Tensor) -> list[tf.Tensor]:
        """Two fields, each float32[.., n, k]; without taste actions one."""
        fields = [self.retrieval(match[..., :1])]
        if match.shape[-1] > 1:
            fields.append(self.nearness(match[..., 1:]))
        return fields
