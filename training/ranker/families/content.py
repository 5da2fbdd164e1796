"""The content ranker's layers: an item side, a user side, and a head that brings them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.config import RankerConfig
from training.ranker.families.layers import HistoryEntries, HistoryPooling
from training.ranker.families.nearness import NEARNESS_SCALE, gate_matrix, nearness, taste_gates, taste_shares
from training.ranker.families.ranker import Ranker, UserBatch, UserSide
from twostage.features.actions import ActionSchema


class ContentRanker(Ranker):
    """Scores by content, by products of people and items, and by nearness to the history.

    The first layer of the head is a sum of three parts: one of the user, one of the item and one of how they
    match. The item's part, its share of each action's logit and its collaborative vectors depend on no request;
    they are the candidate table.

    How they match is told by products of user and item representations, by the retrieval score, and by how close
    the candidate's collaborative vectors lie to those of the history's entries, apart for entries that are the same
    kind of taste and those that are another. Cosines enter in powers: high ones count near neighbours as item-kNN does.

    Args:
        config: Sizes.
        actions: The actions to predict.
        vector_size: Size D of item vectors.
        feature_count: Number of statistics per item.
    """

    has_first_guess = True

    def __init__(self, config: RankerConfig, actions: ActionSchema, vector_size: int, feature_count: int) -> None:
        super().__init__(config, actions, vector_size, feature_count)
        layers = keras.layers
        width = config.item_sizes[-1]
        if width != config.head_sizes[0]:
            raise ValueError(
                f"item_sizes: expected the last to be {config.head_sizes[0]}, the head's first, got {width}"
            )
        self.item_hidden = [layers.Dense(size, activation="relu") for size in config.item_sizes[:-1]]
        self.item_part = layers.Dense(width, name="item_part")
        self.item_logits = layers.Dense(self.action_count, kernel_initializer="zeros", name="item_logits")
        self.history_entries = HistoryEntries(len(actions.recorded_names))
        self.history_pooling = HistoryPooling(config.attention_size)
        self.user_hidden = [layers.Dense(size, activation="relu") for size in config.user_sizes]
        self.user_part = layers.Dense(config.head_sizes[0], name="user_part")
        self.user_match = layers.Dense(width, name="user_match")
        self.match_part = layers.Dense(config.head_sizes[0], use_bias=False, name="match_part")
        self.match_logits = layers.Dense(
            self.action_count, use_bias=False, kernel_initializer=self._first_guess, name="match_logits"
        )
        self.head_hidden = [layers.Dense(size, activation="relu") for size in config.head_sizes[1:]]
        self.dropout = layers.Dropout(config.dropout)
        self.head_logits = layers.Dense(self.action_count, kernel_initializer="zeros", name="head_logits")

    def _first_guess(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        """Starts from item-kNN: an action is as likely as the candidate is near to what got the same action."""
        weights = np.zeros(shape, np.float32)
        for column, action in enumerate(self.action_schema.actions):
            for position, taste in enumerate(self.taste):
                if action.source == taste.source:
                    # After two columns per taste of first and of third powers come the sixth; own kind first.
                    start = self.config.match_count + 4 * len(self.taste)
                    weights[start + 2 * position, column] = 1.0 / NEARNESS_SCALE
        return tf.constant(weights, dtype)

    @property
    def encoded_size(self) -> int:
        """E: the item's part of the head's first layer, and of each action's logit."""
        return self.config.item_sizes[-1] + self.action_count

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side, float32[n, D] and float32[n, F] to float32[n, width + A]."""
        inputs = hidden = tf.concat([vectors, features], axis=-1)
        for layer in self.item_hidden:
            hidden = layer(hidden)
        return tf.concat([self.item_part(hidden), self.item_logits(tf.concat([hidden, inputs], -1))], axis=-1)

    def set_first_guess(self, nearness: Sequence[float], retrieval: Sequence[float]) -> None:
        """Multiplies, by action, the nearness that logits start from, and weighs the retrieval score; untrained."""
        kernel = self.match_logits.kernel.numpy() * np.asarray(nearness, np.float32)
        kernel[-1] = retrieval
        self.match_logits.kernel.assign(kernel)

    def absorb_calibration(self) -> None:
        """Moves scale and shift into the head, which must still be as it was made, and resets them."""
        self.match_logits.kernel.assign(self.match_logits.kernel * self.scale)
        self.head_logits.bias.assign(self.head_logits.bias + self.shift)
        self.scale.assign(tf.ones_like(self.scale))
        self.shift.assign(tf.zeros_like(self.shift))

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:
        """Encodes the user side of B requests, once for all their candidates."""
        user = user.cleared()
        vectors = user.features[:, :, : self.vector_size]
        entries = self.history_entries(vectors, user.actions, user.values, user.ages_days)
        gates = taste_gates(user, self.taste, self.action_schema.recorded_names)
        shares = taste_shares(gates, user.mask)
        hidden = tf.concat([self.history_pooling(entries, user.mask), user.context, *shares], axis=-1)
        for layer in self.user_hidden:
            hidden = layer(hidden)
        hidden = self.dropout(hidden, training=training)
        # The user's representation laid out in blocks, so that one matmul gives every product at once.
        match_count, width = self.config.match_count, self.config.item_sizes[-1]
        blocks = tf.reshape(self.user_match(hidden), [-1, 1, match_count, width // match_count])
        spread = tf.eye(match_count)[None, :, :, None] * blocks / float(np.sqrt(width))
        parts = {
            "part": self.user_part(hidden)[:, None, :],
            "products": tf.reshape(spread, [-1, match_count, width]),
        }
        if gates:
            parts |= {"factors": user.features[:, :, self.vector_size :], "gates": gate_matrix(gates)}
        return UserSide(parts)

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits of candidates before calibration."""
        width, action_count = self.config.item_sizes[-1], self.action_count
        item_part = candidates[..., :width]
        match = [tf.matmul(item_part, side["products"], transpose_b=True)]
        if self.taste:
            factors = candidates[..., width + action_count :]
            match.append(nearness(factors, side["factors"], side["gates"], self.config.factor_size))
        match = tf.concat([*match, retrieval_scores[..., None]], axis=-1)
        hidden = tf.nn.relu(item_part + self.match_part(match) + side["part"])
        for layer in self.head_hidden:
            hidden = layer(self.dropout(hidden, training=training))
        return self.head_logits(hidden) + self.match_logits(match) + candidates[..., width : width + action_count]
