"""DIN: the history weighed anew for every candidate."""

from __future__ import annotations

import keras
import tensorflow as tf

from training.ranker.families.fields import FieldRanker
from training.ranker.families.layers import ACTION_EMBEDDING_SIZE, FACT_COUNT, ChannelPReLU, HiddenLayers, SplitDense
from training.ranker.families.ranker import UserBatch, UserSide


class DIN(FieldRanker):
    """G. Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018.

    Equation 3: ``v_U(A) = sum over j of a(e_j, v_A) e_j``, where the local activation unit a is a PReLU layer over
    ``[e_j, e_j * v_A, v_A]`` and a linear one. The weights are not normalised by a softmax, so that their sum tells how
    strong the interest is. A perceptron reads v_U(A), the candidate and the rest.

    Fields: e_j from an entry's item vector, action, value and age; v_A from the candidate's vector, by the same
    embedding; statistics, profile and match in the perceptron's input.
    Deviations: the history alone is the person. Goods are embedded from their vectors, not by id. The unit reads the
    element-wise product, as the authors' published code does, where the paper's figure has an outer one. PReLU, not
    Dice, and no mini-batch aware regularisation, which is for embeddings by id. The perceptron reads the pooled history
    of the other families too: v_U(A) is near zero for what nothing in the history resembles.

    Table: v_A, and the item's parts of the unit's layer and of the perceptron's first. Left per candidate, inherent:
    the unit meets each of the L entries, L h (k + 2) multiplications with k the goods' and h the unit's size, 27,200
    for L = 50, k = 32, h = 16, and L k for the sum. The part of e_j is computed once per request.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        size, unit = self.sizes.embedding_size, self.sizes.unit_size
        self.goods = self.item_embedding(size, "goods")
        self.behaviour = keras.layers.Dense(size, use_bias=False, name="behaviour")
        self.unit = SplitDense({"entry": size, "product": size, "item": size}, unit, "unit")
        self.unit_activation = ChannelPReLU(unit, "unit_activation")
        small = keras.initializers.RandomNormal(stddev=0.05)
        self.unit_weight = self.add_weight(shape=(unit,), initializer=small, name="unit_weight")
        self.unit_bias = self.add_weight(shape=(), initializer="zeros", name="unit_bias")
        inputs = {
            "person": self.person_width,
            "item": size + self.feature_count,
            "interest": size,
            "match": self.match_width,
        }
        self.first = SplitDense(inputs, self.config.head_sizes[0], "first")
        self.first_activation = ChannelPReLU(self.config.head_sizes[0], "first_activation")
        self.hidden = HiddenLayers(self.config.head_sizes[1:], self.config.dropout, "hidden")
        self.output_logits = self.output_layer("output_logits")

    @property
    def encoded_size(self) -> int:
        """E: v_A, the item's part of the unit's layer and of the perceptron's first."""
        return self.sizes.embedding_size + self.sizes.unit_size + self.config.head_sizes[0]

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        goods = self.goods(vectors)
        first = self.first.part("item", tf.concat([goods, features], axis=-1))
        return tf.concat([goods, self.unit.part("item", goods), first], axis=-1)

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: the entries, and what the activation unit needs of them."""
        person = self.read_person(user)
        behaviour = person.entries[:, :, -(ACTION_EMBEDDING_SIZE + FACT_COUNT) :]
        entries = self.goods(person.entries[:, :, : self.vector_size]) + self.behaviour(behaviour)
        # W (e * v) = (W diag(e)) v: laid out as one matrix, all entries meet a candidate in one product.
        start, stop = self.unit.spans["product"]
        meets = entries[:, :, :, None] * self.unit.kernel[start:stop]
        length = tf.shape(entries)[1]
        meets = tf.transpose(meets, [0, 2, 1, 3])
        meets = tf.reshape(meets, [-1, self.sizes.embedding_size, length * self.sizes.unit_size])
        parts = {
            "entries": entries,
            "mask": person.mask[:, None, :],
            "meets": meets,
            "unit": self.unit.biased("entry", entries)[:, None, :, :],
            "first": self.first.biased("person", person.fields),
        }
        return UserSide({**person.match, **parts})

    def entry_weights(self, side: UserSide, candidates: tf.Tensor) -> tf.Tensor:
        """The local activation unit: float32[.., n, L], what each entry weighs for each candidate; 0 for padding."""
        size, unit = self.sizes.embedding_size, self.sizes.unit_size
        met = tf.matmul(candidates[..., :size], side["meets"])
        met = tf.reshape(met, tf.concat([tf.shape(met)[:-1], [-1, unit]], axis=0))
        hidden = self.unit_activation(met + side["unit"] + candidates[..., None, size : size + unit])
        weights = tf.tensordot(hidden, self.unit_weight, 1) + self.unit_bias
        return weights * side["mask"]

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits before calibration."""
        start = self.sizes.embedding_size + self.sizes.unit_size
        interest = tf.matmul(self.entry_weights(side, candidates), side["entries"])
        match = self.match(side, candidates, retrieval_scores)
        hidden = side["first"] + candidates[..., start : self.encoded_size]
        hidden += self.first.part("interest", interest) + self.first.part("match", match)
        return self.output_logits(self.hidden(self.first_activation(hidden), training=training))
