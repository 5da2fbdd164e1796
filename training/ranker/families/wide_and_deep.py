"""Wide & Deep: a linear model that memorises beside a perceptron that generalises."""

from __future__ import annotations

import tensorflow as tf

from training.ranker.families.fields import FIRST_LOGIT, FieldRanker, constant
from training.ranker.families.layers import HiddenLayers, SplitDense
from training.ranker.families.ranker import UserBatch, UserSide


class WideAndDeep(FieldRanker):
    """H.-T. Cheng et al., *Wide & Deep Learning for Recommender Systems*, DLRS 2016.

    Equation 3: ``P = sigmoid(w_wide^T [x, phi(x)] + w_deep^T a + b)``, where a is the last layer of a ReLU perceptron.

    Fields: wide reads x = history, profile and item, and phi(x) = match; deep reads all four.
    Deviations: the paper's phi are products of sparse columns such as "installed this and is shown that"; the match
    field says the same by how near what is shown lies to what was taken. Its deep part embeds ids; here item vectors
    and the pooled history stand in their place. Both parts share one optimiser, not FTRL and AdaGrad.

    Table: the item's part of the perceptron's first layer, and its wide logits. Left per candidate: the match field's
    share of both, and the layers after the first.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        inputs = {"person": self.person_width, "item": self.item_width, "match": self.match_width}
        self.wide = SplitDense(
            inputs,
            self.action_count,
            "wide",
            kernel_initializer=self.starts_from_retrieval(self.person_width + self.item_width),
            bias_initializer=constant(FIRST_LOGIT),
        )
        self.first = SplitDense(inputs, self.config.head_sizes[0], "first")
        self.hidden = HiddenLayers(self.config.head_sizes[1:], self.config.dropout, "hidden")
        self.deep_logits = self.output_layer("deep_logits", first_logit=0.0)

    @property
    def encoded_size(self) -> int:
        """E: the item's part of the first layer beside its wide logits."""
        return self.config.head_sizes[0] + self.action_count

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        item = tf.concat([vectors, features], axis=-1)
        return tf.concat([self.first.part("item", item), self.wide.part("item", item)], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: its part of the first layer and of the wide logits."""
        person = self.read_person(user)
        fields = person.fields
        parts = {"first": self.first.biased("person", fields), "wide": self.wide.biased("person", fields)}
        return UserSide({**person.match, **parts})

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        width = self.config.head_sizes[0]
        match = self.match(side, candidates, retrieval_scores)
        hidden = tf.nn.relu(side["first"] + candidates[..., :width] + self.first.part("match", match))
        wide = side["wide"] + candidates[..., width : self.encoded_size] + self.wide.part("match", match)
        return wide + self.deep_logits(self.hidden(hidden, training=training))
