"""NFM: a perceptron over the pooled products of all pairs of fields."""

from __future__ import annotations

import keras
import tensorflow as tf

from training.ranker.families.field_embeddings import FieldEmbeddings
from training.ranker.families.fields import FIRST_LOGIT, FieldRanker, constant
from training.ranker.families.layers import HiddenLayers, SplitDense, small_kernel
from training.ranker.families.pairs import FieldGroup
from training.ranker.families.ranker import UserBatch, UserSide


class NFM(FieldRanker):
    """X. He and T.-S. Chua, *Neural Factorization Machines for Sparse Predictive Analytics*, SIGIR 2017.

    Equations 3, 4 and 7: ``y = w_0 + sum w_i x_i + h^T relu(W_L .. relu(W_1 f_BI + b_1) .. + b_L)`` with bi-interaction
    pooling ``f_BI = ((sum e)^2 - sum e^2) / 2``, dropout on f_BI included.

    Fields: history, profile, item vector, statistics, retrieval score and nearness, the last two being the match field.
    Deviations: the history stands for the user id, the item's vector for the item id, and no batch normalisation, whose
    moments of sampled lists are not those of whole ones. Actions share the pooling and the perceptron; each has its own
    w and h.

    Table: the sum of the item's embeddings, the products of their pair, and the first order. Left per candidate: two
    products of width k, the match fields, and the whole perceptron, as it reads products of person and item alone.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        self.width = self.sizes.pooled_size
        inputs = {"person": self.person_width, "item": self.item_width, "match": self.match_width}
        self.first_order = SplitDense(
            inputs,
            self.action_count,
            "first_order",
            kernel_initializer=self.starts_from_retrieval(self.person_width + self.item_width),
            bias_initializer=constant(FIRST_LOGIT),
        )
        self.embeddings = FieldEmbeddings(self.width, self.item_embedding(self.width, "item", small_kernel()))
        self.hidden = HiddenLayers(self.config.head_sizes, self.config.dropout, "hidden")
        self.output_logits = keras.layers.Dense(
            self.action_count, use_bias=False, kernel_initializer="zeros", name="output_logits"
        )

    @property
    def encoded_size(self) -> int:
        """E: sum of embeddings, products of their pair, logits of first order."""
        return 2 * self.width + self.action_count

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        group = FieldGroup.of(self.embeddings.of_items(vectors, features))
        first_order = self.first_order.part("item", tf.concat([vectors, features], axis=-1))
        return tf.concat([group.total, group.pairs, first_order], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: its sum of embeddings, the products of their pair, its first order."""
        person = self.read_person(user)
        group = FieldGroup.of(self.embeddings.of_person(person))
        first_order = self.first_order.biased("person", person.fields)
        return UserSide({**person.match, "total": group.total, "pairs": group.pairs, "first_order": first_order})

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        width = self.width
        match = self.match(side, candidates, retrieval_scores)
        item = FieldGroup(candidates[..., :width], candidates[..., width : 2 * width])
        person = FieldGroup(side["total"], side["pairs"])
        pooled = person.join(item).join(FieldGroup.of(self.embeddings.of_match(match))).pairs
        first_order = candidates[..., 2 * width : self.encoded_size] + self.first_order.part("match", match)
        return side["first_order"] + first_order + self.output_logits(self.hidden(pooled, training=training))
