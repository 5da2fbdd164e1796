"""What every family of rankers is to training, evaluation and export."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import RankerConfig
from twostage.features.actions import ActionSchema
from twostage.features.context import CONTEXT_SIZE

_CHUNK = 8192


@dataclass(frozen=True)
class UserBatch:
    """The user side of B requests, as tensors; the columns of PaddedHistories and the context.

    Args:
        features: float32[B, L, H], rows of the history table.
        mask: float32[B, L], 1 where there is an entry. What the other tensors hold where it is 0 counts for nothing.
        actions: int32[B, L], 1 + the position in the recorded actions, 0 when unknown.
        values: float32[B, L], 0 when missing.
        ages_days: float32[B, L], 0 when unknown.
        context: float32[B, 6], see twostage.features.context.
    """

    features: tf.Tensor
    mask: tf.Tensor
    actions: tf.Tensor
    values: tf.Tensor
    ages_days: tf.Tensor
    context: tf.Tensor

    def cleared(self) -> UserBatch:
        """The same with zeros where there is no entry, so that padding cannot reach a score by any way."""
        kept = self.mask > 0
        return UserBatch(
            tf.where(kept[:, :, None], self.features, 0.0),
            self.mask,
            tf.where(kept, self.actions, 0),
            tf.where(kept, self.values, 0.0),
            tf.where(kept, self.ages_days, 0.0),
            self.context,
        )


@dataclass(frozen=True)
class UserSide:
    """The encoded user side of B requests, to be met by candidates.

    Args:
        parts: Tensors by name, each with a first dimension of B; which there are is the family's affair.
    """

    parts: Mapping[str, tf.Tensor]

    def __getitem__(self, name: str) -> tf.Tensor:
        """One of the parts."""
        return self.parts[name]

    def single(self) -> UserSide:
        """The only request's, without the first dimension: plain matrices multiply faster than batches of one."""
        return UserSide({name: part[0] for name, part in self.parts.items()})


class Ranker(keras.Model, abc.ABC):
    """Scores candidates by action.

    A person is their history: no family reads a user id, so that new people are served. An item is its vector, its
    statistics and its collaborative vectors: no family reads an item id, so that new items are.

    What depends on the item alone is computed once, by :meth:`encode_items`, and is the candidate table together with
    the item's collaborative vectors; serving reads rows of it. Collaborative vectors may only be compared with one
    another: those that are served come from more interactions than those of training and have other axes.

    Args:
        config: Sizes that families share.
        actions: The actions to predict.
        vector_size: Size D of item vectors.
        feature_count: Number F of statistics per item.
    """

    has_first_guess = False
    """True when an untrained ranker can be set to the better of nearness and retrieval order; see first_guess."""

    def __init__(self, config: RankerConfig, actions: ActionSchema, vector_size: int, feature_count: int) -> None:
        super().__init__(name="ranker")
        self.config = config
        self.action_schema = actions
        self.vector_size = vector_size
        self.feature_count = feature_count
        self.action_count = len(actions.actions)
        self.taste = [action for action in actions.actions if action.taste]
        # Fitted after training: probabilities over whole candidate lists, not over sampled ones.
        self.scale = self.add_weight(shape=(self.action_count,), initializer="ones", trainable=False, name="scale")
        self.shift = self.add_weight(shape=(self.action_count,), initializer="zeros", trainable=False, name="shift")

    @property
    @abc.abstractmethod
    def encoded_size(self) -> int:
        """E, the width of what :meth:`encode_items` answers."""

    @abc.abstractmethod
    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""

    @abc.abstractmethod
    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:
        """Encodes the user side of B requests, once for all their candidates."""

    @abc.abstractmethod
    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration; see :meth:`score`."""

    @property
    def factor_width(self) -> int:
        """T K, the width of an item's collaborative vectors of K numbers for each of T taste actions."""
        return len(self.taste) * self.config.factor_size

    @property
    def candidate_size(self) -> int:
        """C, the width of the candidate table: E + T K."""
        return self.encoded_size + self.factor_width

    @property
    def history_size(self) -> int:
        """H, the width of the history table: D + T K."""
        return self.vector_size + self.factor_width

    def candidate_table(
        self, vectors: NDArray[np.float32], features: NDArray[np.float32], factors: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The candidate table.

        Args:
            vectors: float32[N, D], item vectors.
            features: float32[N, F], statistics.
            factors: float32[N, T K] or float32[N, T, K], collaborative vectors.

        Returns:
            float32[N, C]: encoded item sides beside collaborative vectors.
        """
        encoded = [
            self.encode_items(
                tf.constant(vectors[start : start + _CHUNK]), tf.constant(features[start : start + _CHUNK])
            )
            for start in range(0, len(vectors), _CHUNK)
        ]
        return np.concatenate([np.concatenate(encoded), factors.reshape(len(vectors), -1)], axis=1)

    def score(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits of candidates.

        Args:
            side: The user side, of B requests or, by :meth:`UserSide.single`, of one.
            candidates: float32[B, n, C], or float32[n, C] for one request: rows of the candidate table.
            retrieval_scores: float32[B, n], or float32[n].
            training: True drops out.

        Returns:
            float32[B, n, A], or float32[n, A], in the order of the actions.
        """
        return self.raw_logits(side, candidates, retrieval_scores, training) * self.scale + self.shift

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """The whole model for one request without any table; training and export call the parts themselves."""
        encoded = self.encode_items(inputs["vectors"], inputs["item_features"])
        table = tf.concat([encoded, inputs["factors"]], axis=-1)
        user = UserBatch(*(inputs[name] for name in ("history", "mask", "actions", "values", "ages_days", "context")))
        return self.score(self.encode_user(user), table[None], inputs["retrieval_scores"][None])

    def build_parts(self) -> None:
        """Puts all weights in place, by scoring one item for nobody."""
        length = 2
        self(
            {
                "vectors": tf.zeros([1, self.vector_size]),
                "item_features": tf.zeros([1, self.feature_count]),
                "factors": tf.zeros([1, self.factor_width]),
                "history": tf.zeros([1, length, self.history_size]),
                "mask": tf.ones([1, length]),
                "actions": tf.zeros([1, length], tf.int32),
                "values": tf.zeros([1, length]),
                "ages_days": tf.zeros([1, length]),
                "context": tf.zeros([1, CONTEXT_SIZE]),
                "retrieval_scores": tf.zeros([1]),
            }
        )
