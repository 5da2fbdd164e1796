"""The fields that every family of the literature reads, so that families differ in what they make of them."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.config import RankerConfig
from training.ranker.families.layers import (
    ACTION_EMBEDDING_SIZE,
    FACT_COUNT,
    ContentEmbedding,
    HistoryEntries,
    HistoryPooling,
)
from training.ranker.families.nearness import gate_matrix, nearness, taste_gates, taste_shares
from training.ranker.families.ranker import Ranker, UserBatch, UserSide
from training.ranker.families.sizes import FamilySizes
from twostage.features.actions import ActionSchema
from twostage.features.context import CONTEXT_SIZE

RETRIEVAL_SCALE = 10.0
"""Retrieval scores are about a tenth of a logit: towers learn them at a temperature near 0.1."""

FIRST_LOGIT = -4.0
"""What output biases start from: about one candidate in fifty-five is acted on."""


def constant(value: float) -> Any:
    """An initialiser that gives every weight one value."""
    return keras.initializers.Constant(value)


@dataclass(frozen=True)
class Person:
    """What is known of B people.

    Args:
        history: float32[B, D + 10], the pooled history; zeros when it is empty.
        profile: float32[B, 6 + T], the context, and the parts of the history that are of each taste action.
        entries: float32[B, L, D + 10], the history's entries before pooling.
        mask: float32[B, L].
        match: Parts of the user side that :meth:`FieldRanker.match` reads.
    """

    history: tf.Tensor
    profile: tf.Tensor
    entries: tf.Tensor
    mask: tf.Tensor
    match: Mapping[str, tf.Tensor]

    @property
    def fields(self) -> tf.Tensor:
        """float32[B, 1, D + 16 + T], history and profile side by side, to be met by candidates."""
        return tf.concat([self.history, self.profile], axis=-1)[:, None, :]


class FieldRanker(Ranker):
    """A ranker over four fields, which are the same for every family.

    *history* (D + 10 numbers): the entries' item vectors, embedded actions, values and ages, pooled by learned weights.
    *profile* (6 + T): the context and the taste actions' parts of the history. *item* (D + F): the item's vector and
    statistics. *match* (1 + 6 T): the retrieval score and the nearness to the history by collaborative vectors, which
    are features of person and item together as a cross product of two columns is.

    Args:
        config: Sizes that families share.
        actions: The actions to predict.
        vector_size: Size D of item vectors.
        feature_count: Number F of statistics per item.
        sizes: Sizes that belong to families; the defaults when None.
    """

    def __init__(
        self,
        config: RankerConfig,
        actions: ActionSchema,
        vector_size: int,
        feature_count: int,
        sizes: FamilySizes | None = None,
    ) -> None:
        super().__init__(config, actions, vector_size, feature_count)
        self.sizes = sizes or FamilySizes()
        self.history_width = vector_size + ACTION_EMBEDDING_SIZE + FACT_COUNT
        self.profile_width = CONTEXT_SIZE + len(self.taste)
        self.person_width = self.history_width + self.profile_width
        self.item_width = vector_size + feature_count
        self.match_width = 1 + 6 * len(self.taste)
        self.history_entries = HistoryEntries(len(actions.recorded_names))
        self.history_pooling = HistoryPooling(config.attention_size)
        self.make_layers()

    @abc.abstractmethod
    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights; widths, sizes and config are known."""

    def item_embedding(self, size: int, name: str, kernel_initializer: Any = "glorot_uniform") -> ContentEmbedding:
        """Makes an embedding of items, with the hidden layers of the content ranker's item tower."""
        return ContentEmbedding(self.config.item_sizes[:-1], size, name, kernel_initializer)

    def person_embedding(self, size: int, name: str) -> ContentEmbedding:
        """Makes an embedding of people, with the hidden layers of the content ranker's user tower."""
        return ContentEmbedding(self.config.user_sizes[:-1], size, name)

    def output_layer(self, name: str, *, first_logit: float = FIRST_LOGIT, units: int | None = None) -> Any:
        """Makes a layer of logits that starts without preference, so that equal scores keep the retrieval order."""
        first = constant(first_logit)
        return keras.layers.Dense(
            units or self.action_count, kernel_initializer="zeros", bias_initializer=first, name=name
        )

    def starts_from_retrieval(self, position: int) -> Any:
        """An initialiser of a kernel [W, A]: the scaled retrieval score, input ``position``, counts 1, the rest 0."""

        def initialise(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            kernel = np.zeros(shape, np.float32)
            kernel[position] = 1.0
            return tf.constant(kernel, dtype)

        return initialise

    def read_person(self, user: UserBatch) -> Person:
        """Reads the user side, without what is in its padding."""
        user = user.cleared()
        vectors = user.features[:, :, : self.vector_size]
        entries = self.history_entries(vectors, user.actions, user.values, user.ages_days)
        gates = taste_gates(user, self.taste, self.action_schema.recorded_names)
        match = {}
        if gates:
            match = {"factors": user.features[:, :, self.vector_size :], "gates": gate_matrix(gates)}
        return Person(
            history=self.history_pooling(entries, user.mask),
            profile=tf.concat([user.context, *taste_shares(gates, user.mask)], axis=-1),
            entries=entries,
            mask=user.mask,
            match=match,
        )

    def match(self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor) -> tf.Tensor:
        """The match field, float32[.., n, 1 + 6 T]: the scaled retrieval score, then nearness."""
        columns = [RETRIEVAL_SCALE * retrieval_scores[..., None]]
        if self.taste:
            factors = candidates[..., self.encoded_size :]
            columns.append(nearness(factors, side["factors"], side["gates"], self.config.factor_size))
        return tf.concat(columns, axis=-1)
