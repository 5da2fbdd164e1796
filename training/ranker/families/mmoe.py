"""MMoE: experts that all actions share, mixed for each by a gate of its own."""

from __future__ import annotations

import tensorflow as tf

from training.ranker.families.fields import FieldRanker
from training.ranker.families.layers import HiddenLayers, SplitDense
from training.ranker.families.ranker import UserBatch, UserSide


class MMoE(FieldRanker):
    """J. Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018.

    ``y_k = h_k(f_k(x))`` with ``f_k(x) = sum over i of g_k(x)_i f_i(x)`` and gates ``g_k(x) = softmax(W_gk x)``
    without bias; experts f_i are single ReLU layers, towers h_k have one before their logit.

    Fields: x = history, profile, an embedding of the item, and match.
    Deviations: the history stands for the user id, the item's vector and statistics for the item id. With a single
    action it is the paper's one-gate mixture (OMoE).

    Table: the item's part of every expert and of every gate. Left per candidate: the match field's share of them, the
    mixture and the towers.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        own = self.sizes
        self.item_part = self.item_embedding(own.item_embedding_size, "item_part")
        inputs = {"person": self.person_width, "item": own.item_embedding_size, "match": self.match_width}
        self.experts_width = own.expert_count * own.expert_size
        self.experts = SplitDense(inputs, self.experts_width, "experts")
        self.gates = SplitDense(inputs, self.action_count * own.expert_count, "gates", use_bias=False)
        self.towers = [
            HiddenLayers([own.tower_size], self.config.dropout, f"tower_{position}")
            for position in range(self.action_count)
        ]
        self.outputs = [self.output_layer(f"output_{position}", units=1) for position in range(self.action_count)]

    @property
    def encoded_size(self) -> int:
        """E: the item's part of every expert and of every gate."""
        return self.experts_width + self.action_count * self.sizes.expert_count

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        item = self.item_part(tf.concat([vectors, features], axis=-1))
        return tf.concat([self.experts.part("item", item), self.gates.part("item", item)], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: its part of every expert and of every gate."""
        person = self.read_person(user)
        fields = person.fields
        parts = {"experts": self.experts.biased("person", fields), "mixing": self.gates.part("person", fields)}
        return UserSide({**person.match, **parts})

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        width, count, size = self.experts_width, self.sizes.expert_count, self.sizes.expert_size
        match = self.match(side, candidates, retrieval_scores)
        experts = tf.nn.relu(side["experts"] + candidates[..., :width] + self.experts.part("match", match))
        mixing = side["mixing"] + candidates[..., width : self.encoded_size] + self.gates.part("match", match)
        logits = []
        for position, (tower, output) in enumerate(zip(self.towers, self.outputs, strict=True)):
            gate = tf.nn.softmax(mixing[..., position * count : (position + 1) * count], axis=-1)
            mixed = tf.add_n(
                [
                    gate[..., expert : expert + 1] * experts[..., expert * size : (expert + 1) * size]
                    for expert in range(count)
                ]
            )
            logits.append(output(tower(mixed, training=training)))
        return tf.concat(logits, axis=-1)
