"""DeepFM: a factorization machine and a perceptron over the same embeddings."""

from __future__ import annotations

import tensorflow as tf

from training.ranker.families.field_embeddings import FieldEmbeddings
from training.ranker.families.fields import FIRST_LOGIT, FieldRanker, constant
from training.ranker.families.layers import HiddenLayers, SplitDense, small_kernel
from training.ranker.families.pairs import FieldGroup
from training.ranker.families.ranker import UserBatch, UserSide


class DeepFM(FieldRanker):
    """H. Guo, R. Tang, Y. Ye, Z. Li and X. He, *DeepFM: A Factorization-Machine based Neural Network*, IJCAI 2017.

    Equations 1 to 4: ``y = sigmoid(y_FM + y_DNN)``, ``y_FM = <w, x> + sum over pairs of fields <e_i, e_j>``, and y_DNN
    is a ReLU perceptron over all embeddings e side by side.

    Fields: history, profile, item vector, statistics, retrieval score and nearness, the last two being the match field.
    Deviations: the history stands for the user id, the item's vector for the item id. Features are numbers, so that a
    field's embedding is a matrix times its features. With several actions each has embeddings of its own for its pairs,
    and the perceptron reads all of them; with one it is the paper's.

    Table: the sum of the item's embeddings, the pair of them, its first order, and its part of the perceptron's first
    layer. Left per candidate: products with the person's sum, the match fields, and the layers after the first.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        self.width = self.action_count * self.sizes.field_size
        inputs = {"person": self.person_width, "item": self.item_width, "match": self.match_width}
        self.first_order = SplitDense(
            inputs,
            self.action_count,
            "first_order",
            kernel_initializer=self.starts_from_retrieval(self.person_width + self.item_width),
            bias_initializer=constant(FIRST_LOGIT),
        )
        self.embeddings = FieldEmbeddings(self.width, self.item_embedding(self.width, "item", small_kernel()))
        match_fields = 2 if self.taste else 1
        embedded = {"person": 2 * self.width, "item": 2 * self.width, "match": match_fields * self.width}
        self.first = SplitDense(embedded, self.config.head_sizes[0], "first")
        self.hidden = HiddenLayers(self.config.head_sizes[1:], self.config.dropout, "hidden")
        self.deep_logits = self.output_layer("deep_logits", first_logit=0.0)

    @property
    def encoded_size(self) -> int:
        """E: sum of embeddings, logits of first order and pair, part of the first layer."""
        return self.width + self.action_count + self.config.head_sizes[0]

    def by_action(self, pairs: tf.Tensor) -> tf.Tensor:
        """Sums each action's own products: float32[.., A k] to float32[.., A]."""
        size = self.sizes.field_size
        columns = [
            tf.reduce_sum(pairs[..., start : start + size], axis=-1, keepdims=True)
            for start in range(0, self.width, size)
        ]
        return tf.concat(columns, axis=-1)

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        embeddings = self.embeddings.of_items(vectors, features)
        group = FieldGroup.of(embeddings)
        first_order = self.first_order.part("item", tf.concat([vectors, features], axis=-1))
        first = self.first.part("item", tf.concat(embeddings, axis=-1))
        return tf.concat([group.total, first_order + self.by_action(group.pairs), first], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: its sum of embeddings, its logits and its part of the first layer."""
        person = self.read_person(user)
        embeddings = self.embeddings.of_person(person)
        group = FieldGroup.of(embeddings)
        parts = {
            "total": group.total,
            "logits": self.first_order.biased("person", person.fields) + self.by_action(group.pairs),
            "first": self.first.biased("person", tf.concat(embeddings, axis=-1)),
        }
        return UserSide({**person.match, **parts})

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        width, known = self.width, self.width + self.action_count
        match = self.match(side, candidates, retrieval_scores)
        embeddings = self.embeddings.of_match(match)
        group = FieldGroup.of(embeddings)
        item_total = candidates[..., :width]
        # The pairs within person and within item stand ready; left are those between groups and within the match.
        pairs = side["total"] * item_total + (side["total"] + item_total) * group.total + group.pairs
        machine = side["logits"] + candidates[..., width:known] + self.first_order.part("match", match)
        first = self.first.part("match", tf.concat(embeddings, axis=-1))
        hidden = tf.nn.relu(side["first"] + candidates[..., known : self.encoded_size] + first)
        return machine + self.by_action(pairs) + self.deep_logits(self.hidden(hidden, training=training))
