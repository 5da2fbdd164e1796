"""Each family's scores against its paper's formula, pair by pair of a person and an item."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.unit.training.ranker.families.papers import (
    ACTIONS,
    ITEM_COUNT,
    SIZES,
    Array,
    Pair,
    dense,
    embedded,
    fields_of,
    logits_of,
    made_case,
    made_ranker,
    perceptron,
    relu,
    sigmoid,
    weights,
)
from training import runtime

runtime.make_deterministic(0)

ACTION_COUNT = len(ACTIONS.actions)


def neumf(model: Any, pair: Pair) -> Array:
    """He et al., 2017, equation 12."""
    matrix = embedded(model.person_factors, pair.person) * embedded(model.item_factors, pair.item)
    joined = [embedded(model.person_part, pair.person), embedded(model.item_part, pair.item), pair.match]
    hidden = perceptron([model.first, *model.hidden.dense], np.concatenate(joined))
    return dense(model.output_logits, np.concatenate([matrix, hidden]))


def wide_and_deep(model: Any, pair: Pair) -> Array:
    """Cheng et al., 2016, equation 3."""
    deep = perceptron([model.first, *model.hidden.dense], pair.all)
    return dense(model.wide, pair.all) + dense(model.deep_logits, deep)


def _embeddings(model: Any, pair: Pair) -> list[Array]:
    own = model.embeddings
    return [
        pair.history @ weights(own.history),
        pair.profile @ weights(own.profile),
        embedded(own.item, pair.vector),
        pair.statistics @ weights(own.statistics),
        pair.match[:1] @ weights(own.retrieval),
        pair.match[1:] @ weights(own.nearness),
    ]


def deepfm(model: Any, pair: Pair) -> Array:
    """Guo et al., 2017, equations 1 to 4, with the sum over pairs spelt out."""
    fields = _embeddings(model, pair)
    machine = dense(model.first_order, pair.all)
    for action, (one, other) in itertools.product(range(ACTION_COUNT), itertools.combinations(fields, 2)):
        part = slice(action * SIZES.field_size, (action + 1) * SIZES.field_size)
        machine[action] += one[part] @ other[part]
    return machine + dense(model.deep_logits, perceptron([model.first, *model.hidden.dense], np.concatenate(fields)))


def nfm(model: Any, pair: Pair) -> Array:
    """He and Chua, 2017, equations 3 and 7, with the sum over pairs spelt out."""
    pooled = np.zeros(SIZES.pooled_size)
    for one, other in itertools.combinations(_embeddings(model, pair), 2):
        pooled += one * other
    return dense(model.first_order, pair.all) + perceptron(model.hidden.dense, pooled) @ weights(model.output_logits)


def dcn_v2(model: Any, pair: Pair) -> Array:
    """Wang et al., 2021, equation 1, in the parallel structure."""
    base = np.concatenate(
        [
            dense(model.history_embedding, pair.history),
            dense(model.profile_embedding, pair.profile),
            embedded(model.item_part, pair.item),
            pair.match,
        ]
    )
    crossed = base
    layers = [model.first_cross, *(cross.dense for cross in model.crosses)]
    assert len(layers) == SIZES.cross_count
    for layer in layers:
        crossed = base * (weights(layer).T @ crossed + layer.bias.numpy()) + crossed
    deep = perceptron([model.first, *model.hidden.dense], base)
    return dense(model.output_logits, np.concatenate([crossed, deep]))


def _prelu(activation: Any, inputs: Array) -> Array:
    return np.where(inputs > 0, inputs, activation.slope.numpy() * inputs)


def din(model: Any, pair: Pair) -> Array:
    """Zhou et al., 2018, equation 3: no softmax over the entries."""
    candidate = embedded(model.goods, pair.vector)
    interest = np.zeros(SIZES.embedding_size)
    for entry in pair.entries:
        behaviour = embedded(model.goods, entry[:-10]) + entry[-10:] @ weights(model.behaviour)
        unit = dense(model.unit, np.concatenate([behaviour, behaviour * candidate, candidate]))
        weight = _prelu(model.unit_activation, unit) @ model.unit_weight.numpy() + float(model.unit_bias.numpy())
        interest += weight * behaviour
    inputs = np.concatenate([pair.person, candidate, pair.statistics, interest, pair.match])
    hidden = _prelu(model.first_activation, dense(model.first, inputs))
    return dense(model.output_logits, perceptron(model.hidden.dense, hidden))


def esmm(model: Any, pair: Pair) -> Array:
    """Ma et al., 2018, equation 1: who likes has rated, and saving is entered first."""
    inputs = np.concatenate([pair.person, embedded(model.item_part, pair.item), pair.match])
    hidden = np.split(relu(dense(model.first, inputs)), ACTION_COUNT)
    own = [
        sigmoid(dense(output, perceptron(tower.dense, part)))[0]
        for part, tower, output in zip(hidden, model.towers, model.outputs, strict=True)
    ]
    chances = np.array([own[0], own[0] * own[1], own[2]])
    return np.asarray(np.log(chances) - np.log(1 - chances))


def mmoe(model: Any, pair: Pair) -> Array:
    """Ma et al., 2018 (MMoE), equations 6 and 7."""
    inputs = np.concatenate([pair.person, embedded(model.item_part, pair.item), pair.match])
    experts = np.split(relu(dense(model.experts, inputs)), SIZES.expert_count)
    logits = []
    for action in range(ACTION_COUNT):
        part = slice(action * SIZES.expert_count, (action + 1) * SIZES.expert_count)
        powers = np.exp(inputs @ weights(model.gates)[:, part])
        mixed = np.sum([power / powers.sum() * expert for power, expert in zip(powers, experts, strict=True)], axis=0)
        logits.append(dense(model.outputs[action], perceptron(model.towers[action].dense, mixed))[0])
    return np.array(logits)


@pytest.mark.parametrize("formula", [neumf, wide_and_deep, deepfm, nfm, dcn_v2, din, esmm, mmoe])
def test_a_family_scores_as_its_paper_says(formula: Callable[[Any, Pair], Array]) -> None:
    model, case = made_ranker(formula.__name__), made_case()
    expected = [
        [formula(model, fields_of(model, case, person, item)) for item in range(ITEM_COUNT)]
        for person in range(len(case.scores))
    ]
    assert np.std(expected, axis=1).min() > 1e-3, "items must differ"
    np.testing.assert_allclose(logits_of(model, case), expected, rtol=2e-4, atol=2e-4)
