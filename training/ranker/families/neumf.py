"""NeuMF: generalised matrix factorisation beside a perceptron."""

from __future__ import annotations

import tensorflow as tf

from training.ranker.families.fields import FieldRanker
from training.ranker.families.layers import HiddenLayers, SplitDense
from training.ranker.families.ranker import UserBatch, UserSide


class NeuMF(FieldRanker):
    """X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua, *Neural Collaborative Filtering*, WWW 2017.

    Equation 12: ``y = sigmoid(h^T [p_G * q_G, MLP([p_M, q_M])])``, with embeddings p of the person and q of the item of
    their own in either half.

    Fields: p from history and profile, q from the item, match beside p_M and q_M in the perceptron's input.
    Deviations: the paper looks p and q up by user and item id; here they are computed from the history and from the
    item's content, so that new people and items are served. The match field is not in the paper. Each action has its
    own h. The halves are trained together from the start, not pre-trained.

    Table: q_G, and q_M through the perceptron's first layer. Left per candidate: a product, the match field's share of
    the first layer, and the layers after it.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        factors, width = self.sizes.embedding_size, self.sizes.item_embedding_size
        self.person_factors = self.person_embedding(factors, "person_factors")
        self.person_part = self.person_embedding(width, "person_part")
        self.item_factors = self.item_embedding(factors, "item_factors")
        self.item_part = self.item_embedding(width, "item_part")
        inputs = {"person": width, "item": width, "match": self.match_width}
        self.first = SplitDense(inputs, self.config.head_sizes[0], "first")
        self.hidden = HiddenLayers(self.config.head_sizes[1:], self.config.dropout, "hidden")
        self.output_logits = self.output_layer("output_logits")

    @property
    def encoded_size(self) -> int:
        """E: q_G beside the item's part of the first layer."""
        return self.sizes.embedding_size + self.config.head_sizes[0]

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        item = tf.concat([vectors, features], axis=-1)
        return tf.concat([self.item_factors(item), self.first.part("item", self.item_part(item))], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: p_G, and p_M through the first layer."""
        person = self.read_person(user)
        first = self.first.biased("person", self.person_part(person.fields))
        return UserSide({**person.match, "factors_part": self.person_factors(person.fields), "first": first})

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        factors = self.sizes.embedding_size
        product = side["factors_part"] * candidates[..., :factors]
        match = self.first.part("match", self.match(side, candidates, retrieval_scores))
        hidden = tf.nn.relu(side["first"] + candidates[..., factors : self.encoded_size] + match)
        hidden = self.hidden(hidden, training=training)
        return self.output_logits(tf.concat([product, hidden], axis=-1))
