"""ESMM: the probability of what follows as that of what comes first times that of going on."""

from __future__ import annotations

import math

import tensorflow as tf

from training.ranker.families.fields import FIRST_LOGIT, FieldRanker
from training.ranker.families.layers import HiddenLayers, SplitDense
from training.ranker.families.ranker import UserBatch, UserSide
from twostage.features.actions import ActionSchema


def parents(actions: ActionSchema) -> list[int | None]:
    """For each action the one that it goes on from, by position.

    Of actions with the same source, doing one with a higher least value implies doing each with a lower one: who likes
    has rated. The closest implied one is the parent; of equal ones the earlier comes first. Actions that imply no other
    are entered first, straight from being shown: ``rated`` and ``saved``, but also every action with a source of its
    own, for a schema does not say that one recorded action needs another.
    """
    floors = [-math.inf if action.min_value is None else action.min_value for action in actions.actions]
    found: list[int | None] = []
    for position, action in enumerate(actions.actions):
        implied = [
            (floors[other], other)
            for other, theirs in enumerate(actions.actions)
            if theirs.source == action.source and (floors[other], other) < (floors[position], position)
        ]
        found.append(max(implied)[1] if implied else None)
    return found


def product_logit(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The logit of ``sigmoid(first) * sigmoid(second)``.

    ``1 / p - 1 = (1 + e^-a)(1 + e^-b) - 1 = e^-a + e^-b + e^-(a + b)``, whose negative logarithm is stable everywhere.
    """
    return -tf.reduce_logsumexp(tf.stack([-first, -second, -(first + second)]), axis=0)


class ESMM(FieldRanker):
    """X. Ma et al., *Entire Space Multi-Task Model*, SIGIR 2018.

    Equation 1: ``pCTCVR = pCTR * pCVR``: over all that was shown, the probability of an action that implies another is
    that of the other times that of going on from it, each from a perceptron of its own over shared embeddings. The
    paper's loss is the cross-entropy of pCTR and pCTCVR, which are what this ranker's logits stand for: it is every
    ranker's pointwise loss.

    Fields: every tower reads all four; shared are the embedding of the item and the pooling of the history.
    Deviations: the history stands for the user id, the item's vector and statistics for the item id. Which action
    implies which is told by :func:`parents`; chains may be longer than two. Calibration is by action and comes after
    the product. With a single action, or with none that implies another, it is one perceptron per action.

    Table: the item's part of each tower's first layer. Left per candidate: the match field's share of it and the
    layers after it, for each action.
    """

    def make_layers(self) -> None:
        """Makes the family's own layers, in the order of its weights."""
        self.parents = parents(self.action_schema)
        own = self.sizes
        self.item_part = self.item_embedding(own.item_embedding_size, "item_part")
        inputs = {"person": self.person_width, "item": own.item_embedding_size, "match": self.match_width}
        self.width = self.config.head_sizes[-1]
        self.first = SplitDense(inputs, self.action_count * self.width, "first")
        self.towers = [
            HiddenLayers([own.tower_size], self.config.dropout, f"tower_{position}")
            for position in range(self.action_count)
        ]
        self.outputs = [
            self.output_layer(f"output_{position}", first_logit=FIRST_LOGIT if parent is None else 0.0, units=1)
            for position, parent in enumerate(self.parents)
        ]

    @property
    def encoded_size(self) -> int:
        """E: the item's part of each tower's first layer."""
        return self.action_count * self.width

    def encode_items(self, vectors: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The item side: float32[n, D] and float32[n, F] to float32[n, E]."""
        return self.first.part("item", self.item_part(tf.concat([vectors, features], axis=-1)))

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - nothing drops out
        """The user side: its part of each tower's first layer."""
        person = self.read_person(user)
        return UserSide({**person.match, "first": self.first.biased("person", person.fields)})

    def own_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> list[tf.Tensor]:
        """Each tower's logit, float32[.., n]: of the action given its parent, or of the action when it has none."""
        match = self.first.part("match", self.match(side, candidates, retrieval_scores))
        hidden = tf.nn.relu(side["first"] + candidates[..., : self.encoded_size] + match)
        logits = []
        for position, (tower, output) in enumerate(zip(self.towers, self.outputs, strict=True)):
            own = hidden[..., position * self.width : (position + 1) * self.width]
            logits.append(output(tower(own, training=training))[..., 0])
        return logits

    def raw_logits(
        self, side: UserSide, candidates: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Logits of the products, before calibration."""
        own = self.own_logits(side, candidates, retrieval_scores, training)
        whole: dict[int, tf.Tensor] = {}
        # A parent may stand after its child: it has the lower floor, not the earlier place.
        while len(whole) < len(own):
            for position, parent in enumerate(self.parents):
                if position in whole or (parent is not None and parent not in whole):
                    continue
                whole[position] = own[position] if parent is None else product_logit(whole[parent], own[position])
        return tf.stack([whole[position] for position in range(len(own))], axis=-1)
