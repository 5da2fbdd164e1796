"""Untrained rankers, and requests to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.unit.training.ranker.made_examples import SIZES, made_examples
from tests.unit.training.tiny_dataset import ACTIONS
from training.ranker.candidates import CandidateLists, Requests
from training.ranker.families.ranker import Ranker
from training.ranker.families.registry import build_ranker
from training.ranker.item_inputs import ItemInputs


def made_ranker(family: str) -> Ranker:
    """An untrained ranker with weights that make everything matter."""
    model = build_ranker(family, SIZES, ACTIONS, vector_size=4, feature_count=3)
    rng = np.random.default_rng(3)
    model.set_weights([weight + rng.normal(scale=0.2, size=weight.shape) for weight in model.get_weights()])
    return model


def made_requests(items: ItemInputs, people_count: int) -> tuple[Requests, CandidateLists]:
    """People with ten entries each, from the first place on as serving pads them, and 60 candidates."""
    made = made_examples(items, people_count)
    rng = np.random.default_rng(5)
    histories = made.requests.histories
    for column in (histories.rows, histories.mask, histories.actions, histories.values, histories.ages_days):
        column[:] = 0
    some = np.s_[:, :10]
    histories.mask[some] = 1
    histories.rows[some] = rng.integers(0, len(items), (people_count, 10))
    histories.actions[some] = rng.integers(0, 3, (people_count, 10))
    histories.values[some] = rng.integers(1, 6, (people_count, 10))
    histories.ages_days[some] = rng.uniform(0, 400, (people_count, 10))
    return replace(made.requests, context=rng.uniform(0, 1, (people_count, 6)).astype(np.float32)), made.candidates
