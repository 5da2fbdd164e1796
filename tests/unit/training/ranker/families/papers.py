"""What papers are written in: plain NumPy over explicit sums, and inputs to feed it and the models with.

Nothing here is shared with the code under test but the layers' weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import RankerConfig
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.families.registry import build_ranker
from training.ranker.families.sizes import FamilySizes
from twostage.features.actions import Action, ActionSchema

Array = NDArray[np.floating]

ACTIONS = ActionSchema(
    (
        Action("rated", source="rated", taste=False, weight=0.0),
        Action("liked", source="rated", min_value=4.0),
        Action("saved", source="saved"),
    )
)
CONFIG = RankerConfig(
    factor_size=4, user_sizes=(12, 8), item_sizes=(12, 8), head_sizes=(8, 6), attention_size=5, dropout=0.5
)
SIZES = FamilySizes(
    embedding_size=4,
    item_embedding_size=6,
    field_size=3,
    pooled_size=5,
    profile_size=3,
    cross_count=3,
    unit_size=4,
    expert_count=3,
    expert_size=5,
    tower_size=4,
)
VECTOR_SIZE, FEATURE_COUNT, ITEM_COUNT, LENGTH = 5, 3, 9, 6


@dataclass(frozen=True)
class Case:
    """People and items that everyone of them may be shown.

    Args:
        vectors: float32[N, D].
        features: float32[N, F].
        factors: float32[N, T, K], of unit length.
        user: The user side of B people.
        scores: float32[B, N], retrieval scores.
    """

    vectors: Array
    features: Array
    factors: Array
    user: UserBatch
    scores: Array


def made_case(actions: ActionSchema = ACTIONS, counts: tuple[int, ...] = (LENGTH, 3, 0), seed: int = 0) -> Case:
    """One person for each of the counts of history entries; what is in the padding is noise."""
    rng = np.random.default_rng(seed)
    taste_count = sum(action.taste for action in actions.actions)

    def unit(*shape: int) -> Array:
        made = rng.normal(size=(*shape, taste_count, CONFIG.factor_size)).astype(np.float32)
        made /= np.maximum(np.linalg.norm(made, axis=-1, keepdims=True), 1e-9)
        return made

    people = len(counts)
    history = rng.normal(size=(people, LENGTH, VECTOR_SIZE)).astype(np.float32)
    history = np.concatenate([history, unit(people, LENGTH).reshape(people, LENGTH, -1)], axis=2)
    user = UserBatch(
        tf.constant(history),
        tf.constant((np.arange(LENGTH) >= LENGTH - np.array(counts)[:, None]).astype(np.float32)),
        tf.constant(rng.integers(0, 1 + len(actions.recorded_names), (people, LENGTH)).astype(np.int32)),
        tf.constant(rng.integers(0, 6, (people, LENGTH)).astype(np.float32)),
        tf.constant(rng.uniform(0, 400, (people, LENGTH)).astype(np.float32)),
        tf.constant(rng.normal(size=(people, 6)).astype(np.float32)),
    )
    return Case(
        rng.normal(size=(ITEM_COUNT, VECTOR_SIZE)).astype(np.float32),
        rng.normal(size=(ITEM_COUNT, FEATURE_COUNT)).astype(np.float32),
        unit(ITEM_COUNT),
        user,
        rng.uniform(0, 0.6, (people, ITEM_COUNT)).astype(np.float32),
    )


def made_ranker(family: str, actions: ActionSchema = ACTIONS, seed: int = 0) -> Ranker:
    """A small ranker of which every weight, calibration included, is drawn."""
    # The weights that noise is added to are drawn too: without this they depend on which tests ran before.
    keras.utils.set_random_seed(seed)
    model = build_ranker(family, CONFIG, actions, VECTOR_SIZE, FEATURE_COUNT, SIZES)
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(size=w.shape).astype(np.float32) * 0.3 for w in model.get_weights()])
    return model


def table_of(model: Ranker, case: Case, dtype: Any = np.float32) -> tf.Tensor:
    """The candidate table once for each person, float32[B, N, C], by way of a dtype."""
    table = model.candidate_table(case.vectors, case.features, case.factors).astype(dtype).astype(np.float32)
    return tf.constant(np.repeat(table[None], len(case.scores), axis=0))


def logits_of(model: Ranker, case: Case, *, calibrated: bool = False) -> Array:
    """The model's logits, float32[B, N, A]."""
    score = model.score if calibrated else model.raw_logits
    logits: Array = score(model.encode_user(case.user), table_of(model, case), tf.constant(case.scores)).numpy()
    return logits


def weights(layer: Any) -> Array:
    """A dense layer's kernel."""
    kernel: Array = layer.kernel.numpy().astype(np.float64)
    return kernel


def dense(layer: Any, inputs: Array) -> Array:
    """``W x + b``."""
    bias = 0.0 if layer.bias is None else layer.bias.numpy()
    return np.asarray(inputs @ weights(layer) + bias)


def relu(inputs: Array) -> Array:
    """Not below zero."""
    return np.where(inputs > 0, inputs, 0.0)


def sigmoid(logits: Array) -> Array:
    """Logits to probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logits, np.float64))))


def perceptron(layers: list[Any], inputs: Array) -> Array:
    """ReLU layers, one after the other."""
    for layer in layers:
        inputs = relu(dense(layer, inputs))
    return inputs


def embedded(embedding: Any, inputs: Array) -> Array:
    """A ContentEmbedding: ReLU layers and a linear one."""
    return dense(embedding.embedding, perceptron(list(embedding.hidden), inputs))


@dataclass(frozen=True)
class Pair:
    """The fields of one person and one item, one number after the other."""

    entries: Array
    history: Array
    profile: Array
    vector: Array
    statistics: Array
    match: Array

    @property
    def person(self) -> Array:
        """History and profile."""
        return np.concatenate([self.history, self.profile])

    @property
    def item(self) -> Array:
        """Vector and statistics."""
        return np.concatenate([self.vector, self.statistics])

    @property
    def all(self) -> Array:
        """Every field."""
        return np.concatenate([self.person, self.item, self.match])


def fields_of(model: Ranker, case: Case, person: int, item: int) -> Pair:
    """Computes the fields as their descriptions say, entry by entry."""
    user, schema = case.user, model.action_schema
    present = [entry for entry in range(LENGTH) if user.mask.numpy()[person, entry] > 0]
    embeddings = model.history_entries.action_embedding.embeddings.numpy()
    features, values = user.features.numpy()[person], user.values.numpy()[person]
    codes, ages = user.actions.numpy()[person], user.ages_days.numpy()[person]
    entries = [
        np.concatenate(
            [features[e, :VECTOR_SIZE], embeddings[codes[e]], [values[e] / 10, np.log(1 + ages[e]) / 8]]
        ).astype(np.float64)
        for e in present
    ]
    history = np.zeros(VECTOR_SIZE + 10)
    if entries:
        pooling = model.history_pooling
        scores = [float((np.tanh(dense(pooling.attention, e)) @ weights(pooling.attention_score))[0]) for e in entries]
        shares = np.exp(scores) / np.exp(scores).sum()
        history = np.sum([share * entry for share, entry in zip(shares, entries, strict=True)], axis=0)
    recorded = (None, *schema.recorded_names)
    taste = [action for action in schema.actions if action.taste]
    kinds = [
        [recorded[codes[e]] is None or action.matches(str(recorded[codes[e]]), float(values[e])) for e in present]
        for action in taste
    ]
    part = [sum(kind) / len(present) if present else 0.0 for kind in kinds]
    size = CONFIG.factor_size
    near = []
    for power in (1, 3, 6):
        for position, kind in enumerate(kinds):
            own = other = 0.0
            for place, e in enumerate(present):
                start = VECTOR_SIZE + position * size
                cosine = float(features[e, start : start + size] @ case.factors[item, position])
                kernel = max(cosine, 0.0) ** power
                if kind[place]:
                    own += kernel
                elif any(theirs[place] for theirs in kinds):
                    other += kernel
            near += [0.3 * np.log(1e-3 + own), 0.3 * np.log(1e-3 + other)]
    return Pair(
        np.array(entries),
        history,
        np.concatenate([user.context.numpy()[person], part]),
        case.vectors[item],
        case.features[item],
        np.array([10 * case.scores[person, item], *near]),
    )
