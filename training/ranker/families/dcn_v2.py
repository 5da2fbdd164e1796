"""DCN v2: explicit crosses of bounded degree beside a perceptron."""

from __future__ import annotations

import keras
import keras_rs
import tensorflow as tf

from training.ranker.families.fields import FIRST_LOGIT, FieldRanker, constant
from training.ranker.families.layers import HiddenLayers, SplitDense, small_kernel
from training.ranker.families.ranker import UserBatch, UserSide


class DCNv2(FieldRanker):
    """R. Wang et al., *DCN V2: Improved Deep & Cross Network*, WWW 2021.

    Equation 1: ``x_(l+1) = x_0 * (W_l x_l + b_l) + x_l``, full-rank, in the parallel structure: the last cross beside
    the last layer of a ReLU perceptron over x_0, then a linear layer.

    Fields: x_0 = embeddings of history, profile and item, and the match field as it is.
    Deviations: the history stands for the user id, the item's vector and statistics for the item id. Each action has
    its own last layer.

    Table: the item's part of x_0, and its parts of the first cross and of the perceptron's first layer. Left per
    candidate: the crosses after the first, W_l x_l of d x d each, are inherent, for x_l mixes person and item.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        own = self.sizes
        if own.cross_count < 1:
            raise ValueError(f"cross_count: expected at least 1, got {own.cross_count}")
        self.history_embedding = keras.layers.Dense(own.embedding_size, name="history_embedding")
        self.profile_embedding = keras.layers.Dense(own.profile_size, name="profile_embedding")
        self.item_part = self.item_embedding(own.item_embedding_size, "item_part")
        inputs = {
            "person": own.embedding_size + own.profile_size,
            "item": own.item_embedding_size,
            "match": self.match_width,
        }
        self.width = sum(inputs.values())
        self.first_cross = SplitDense(inputs, self.width, "first_cross", kernel_initializer=small_kernel())
        self.crosses = [
            keras_rs.layers.FeatureCross(kernel_initializer=small_kernel(), name=f"cross_{layer}")
            for layer in range(1, own.cross_count)
        ]
        self.first = SplitDense(inputs, self.config.head_sizes[0], "first")
        self.hidden = HiddenLayers(self.config.head_sizes[1:], self.config.dropout, "hidden")
        self.output_logits = keras.layers.Dense(
            self.action_count,
            kernel_initializer=self.starts_from_retrieval(self.width - self.match_width),
            bias_initializer=constant(FIRST_LOGIT),
            name="output_logits",
        )

    @property
    def encoded_size(self) -> int:
        """E: the item's part of x_0, of the first cross and of the perceptron's first layer."""
        return self.sizes.item_embedding_size + self.width + self.config.head_sizes[0]

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        item = self.item_part(tf.concat([vectors, features], axis=-1))
        return tf.concat([item, self.first_cross.part("item", item), self.first.part("item", item)], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: its part of x_0, of the first cross and of the perceptron's first layer."""
        person = self.read_person(user)
        embedded = [self.history_embedding(person.history), self.profile_embedding(person.profile)]
        own = tf.concat(embedded, axis=-1)[:, None, :]
        parts = {
            "own": own,
            "cross": self.first_cross.biased("person", own),
            "first": self.first.biased("person", own),
        }
        return UserSide({**person.match, **parts})

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        start = self.sizes.item_embedding_size
        stop = start + self.width
        match = self.match(side, candidates, retrieval_scores)
        own = side["own"] + tf.zeros_like(match[..., :1])
        base = tf.concat([own, candidates[..., :start], match], axis=-1)
        crossed = side["cross"] + candidates[..., start:stop] + self.first_cross.part("match", match)
        crossed = base * crossed + base
        for cross in self.crosses:
            crossed = cross(base, crossed)
        hidden = tf.nn.relu(side["first"] + candidates[..., stop : self.encoded_size] + self.first.part("match", match))
        hidden = self.hidden(hidden, training=training)
        return self.output_logits(tf.concat([crossed, hidden], axis=-1))
