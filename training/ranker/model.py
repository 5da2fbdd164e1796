"""The ranker's layers: an item side, a user side, and a head that brings them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import RankerConfig
from training.towers.layers import AttentionPooling
from twostage.features.actions import ActionSchema
from twostage.features.context import CONTEXT_SIZE

_ACTION_EMBEDDING_SIZE = 8
_LEAST_KERNEL = 1e-3
_NEARNESS_SCALE = 0.3


@dataclass(frozen=True)
class UserBatch:
    """The user side of B requests, as tensors; the columns of PaddedHistories and the context."""

    features: tf.Tensor
    mask: tf.Tensor
    actions: tf.Tensor
    values: tf.Tensor
    ages_days: tf.Tensor
    context: tf.Tensor


@dataclass(frozen=True)
class UserSide:
    """The encoded user side of B requests.

    Args:
        part: float32[B, 1, width], the user's part of the head's first layer.
        products: float32[B, M, width], what items are multiplied with.
        factors: float32[B, 50, K] for each of T taste actions, the history's collaborative vectors.
        gates: float32[B, 50 T, 2 T], which entries count for which column; None without taste actions.
    """

    part: tf.Tensor
    products: tf.Tensor
    factors: list[tf.Tensor]
    gates: tf.Tensor | None

    def single(self) -> UserSide:
        """The only request's, without the first dimension: plain matrices multiply faster than batches of one."""
        gates = None if self.gates is None else self.gates[0]
        return UserSide(self.part[0], self.products[0], [theirs[0] for theirs in self.factors], gates)


class RankerModel(keras.Model):
    """Scores candidates by action.

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

    def __init__(self, config: RankerConfig, actions: ActionSchema, vector_size: int, feature_count: int) -> None:
        super().__init__(name="ranker")
        layers = keras.layers
        self.config = config
        self.action_schema = actions
        self.vector_size = vector_size
        self.feature_count = feature_count
        self.action_count = len(actions.actions)
        self.taste = [action for action in actions.actions if action.taste]
        width = config.item_sizes[-1]
        self.item_hidden = [layers.Dense(size, activation="relu") for size in config.item_sizes[:-1]]
        self.item_part = layers.Dense(width, name="item_part")
        self.item_logits = layers.Dense(self.action_count, kernel_initializer="zeros", name="item_logits")
        self.action_embedding = layers.Embedding(1 + len(actions.recorded_names), _ACTION_EMBEDDING_SIZE)
        self.attention = layers.Dense(config.attention_size, activation="tanh")
        self.attention_score = layers.Dense(1, use_bias=False)
        self.pooling = AttentionPooling()
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
        # Fitted after training: probabilities over whole candidate lists, not over sampled ones.
        self.scale = self.add_weight(shape=(self.action_count,), initializer="ones", trainable=False, name="scale")
        self.shift = self.add_weight(shape=(self.action_count,), initializer="zeros", trainable=False, name="shift")
        if width != config.head_sizes[0]:
            raise ValueError(
                f"item_sizes: expected the last to be {config.head_sizes[0]}, the head's first, got {width}"
            )

    def _first_guess(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        """Starts from item-kNN: an action is as likely as the candidate is near to what got the same action."""
        weights = np.zeros(shape, np.float32)
        for column, action in enumerate(self.action_schema.actions):
            for position, taste in enumerate(self.taste):
                if action.source == taste.source:
                    # After two columns per taste of first and of third powers come the sixth; own kind first.
                    start = self.config.match_count + 4 * len(self.taste)
                    weights[start + 2 * position, column] = 1.0 / _NEARNESS_SCALE
        return tf.constant(weights, dtype)

    @property
    def candidate_size(self) -> int:
        """C, the width of the candidate table."""
        return self.config.item_sizes[-1] + self.action_count + len(self.taste) * self.config.factor_size

    @property
    def history_size(self) -> int:
        """H, the width of the history table."""
        return self.vector_size + len(self.taste) * self.config.factor_size

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side, float32[n, D] and float32[n, F] to float32[n, width + A]."""
        inputs = hidden = tf.concat([vectors, features], axis=-1)
        for layer in self.item_hidden:
            hidden = layer(hidden)
        return tf.concat([self.item_part(hidden), self.item_logits(tf.concat([hidden, inputs], -1))], axis=-1)

    def candidate_table(
        self, vectors: NDArray[np.float32], features: NDArray[np.float32], factors: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The candidate table, float32[N, C]: encoded item sides beside collaborative vectors."""
        chunk = 8192
        encoded = [
            self.encode_items(tf.constant(vectors[start : start + chunk]), tf.constant(features[start : start + chunk]))
            for start in range(0, len(vectors), chunk)
        ]
        return np.concatenate([np.concatenate(encoded), factors.reshape(len(vectors), -1)], axis=1)

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

    def gates(self, user: UserBatch) -> list[tf.Tensor]:
        """For each taste action float32[B, 50, 2]: entries of that action, and of other taste."""
        recorded = self.action_schema.recorded_names
        labels = []
        for action in self.taste:
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

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:
        """Encodes the user side of B requests, once for all their candidates."""
        vectors = user.features[:, :, : self.vector_size]
        facts = tf.stack([user.values / 10.0, tf.math.log1p(user.ages_days) / 8.0], axis=-1)
        entries = tf.concat([vectors, self.action_embedding(user.actions), facts], axis=-1)
        scores = self.attention_score(self.attention(entries))[:, :, 0]
        gates = self.gates(user)
        count = tf.maximum(tf.reduce_sum(user.mask, axis=1, keepdims=True), 1.0)
        shares = [tf.reduce_sum(gate[:, :, 0], axis=1, keepdims=True) / count for gate in gates]
        hidden = tf.concat([self.pooling(entries, scores, user.mask), user.context, *shares], axis=-1)
        for layer in self.user_hidden:
            hidden = layer(hidden)
        hidden = self.dropout(hidden, training=training)
        # The user's representation laid out in blocks, so that one matmul gives every product at once.
        match_count, width = self.config.match_count, self.config.item_sizes[-1]
        blocks = tf.reshape(self.user_match(hidden), [-1, 1, match_count, width // match_count])
        spread = tf.eye(match_count)[None, :, :, None] * blocks / float(np.sqrt(width))
        size = self.config.factor_size
        starts = [self.vector_size + position * size for position in range(len(self.taste))]
        zeros = [tf.zeros_like(gate) for gate in gates]
        columns = [
            tf.concat([*zeros[:position], gate, *zeros[position + 1 :]], axis=-1) for position, gate in enumerate(gates)
        ]
        return UserSide(
            part=self.user_part(hidden)[:, None, :],
            products=tf.reshape(spread, [-1, match_count, width]),
            factors=[user.features[:, :, start : start + size] for start in starts],
            gates=tf.concat(columns, axis=1) if columns else None,
        )

    def _nearness(self, side: UserSide, factors: tf.Tensor) -> list[tf.Tensor]:
        """How near candidates lie to the history: float32[.., n, T K] to float32[.., n, 6 T]."""
        if side.gates is None:
            return []
        size = self.config.factor_size
        cosines = [
            tf.matmul(factors[..., position * size : (position + 1) * size], theirs, transpose_b=True)
            for position, theirs in enumerate(side.factors)
        ]
        near = tf.nn.relu(tf.concat(cosines, axis=-1) if len(cosines) > 1 else cosines[0])
        third = near * near * near
        kernels = [tf.matmul(power, side.gates) for power in (near, third, third * third)]
        return [tf.math.log(_LEAST_KERNEL + tf.concat(kernels, axis=-1)) * _NEARNESS_SCALE]

    def score(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits of candidates.

        Args:
            side: The user side, of B requests or, by :meth:`UserSide.single`, of one.
            candidates: float32[B, n, C], or float32[n, C] for one request.
            retrieval_scores: float32[B, n], or float32[n].
            training: True drops out.

        Returns:
            float32[B, n, A], or float32[n, A].
        """
        width, action_count = self.config.item_sizes[-1], self.action_count
        item_part = candidates[..., :width]
        products = tf.matmul(item_part, side.products, transpose_b=True)
        nearness = self._nearness(side, candidates[..., width + action_count :])
        match = tf.concat([products, *nearness, retrieval_scores[..., None]], axis=-1)
        hidden = tf.nn.relu(item_part + self.match_part(match) + side.part)
        for layer in self.head_hidden:
            hidden = layer(self.dropout(hidden, training=training))
        logits = self.head_logits(hidden) + self.match_logits(match) + candidates[..., width : width + action_count]
        return logits * self.scale + self.shift

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Builds every layer; the training step and the export call the parts themselves."""
        encoded = self.encode_items(inputs["vectors"], inputs["item_features"])
        table = tf.concat([encoded, inputs["factors"]], axis=-1)
        user = UserBatch(*(inputs[name] for name in ("history", "mask", "actions", "values", "ages_days", "context")))
        return self.score(self.encode_user(user), table[None], inputs["retrieval_scores"][None])


def build_ranker(config: RankerConfig, actions: ActionSchema, vector_size: int, feature_count: int) -> RankerModel:
    """Makes a ranker with all its weights in place; see RankerModel."""
    model = RankerModel(config, actions, vector_size, feature_count)
    length = 2
    model(
        {
            "vectors": tf.zeros([1, vector_size]),
            "item_features": tf.zeros([1, feature_count]),
            "factors": tf.zeros([1, len(model.taste) * config.factor_size]),
            "history": tf.zeros([1, length, model.history_size]),
            "mask": tf.ones([1, length]),
            "actions": tf.zeros([1, length], tf.int32),
            "values": tf.zeros([1, length]),
            "ages_days": tf.zeros([1, length]),
            "context": tf.zeros([1, CONTEXT_SIZE]),
            "retrieval_scores": tf.zeros([1]),
        }
    )
    return model
