"""Examples made by hand, in which one action follows nearness to the history and another the retrieval score."""

from __future__ import annotations

import numpy as np

from tests.unit.training.tiny_dataset import ACTIONS
from training.config import RankerConfig
from training.features.histories import PaddedHistories
from training.ranker.candidates import CandidateLists, Requests
from training.ranker.examples import Examples
from training.ranker.item_inputs import ItemInputs, Standardisation
from twostage.features.history import HISTORY_LENGTH

SIZES = RankerConfig(factor_size=8, user_sizes=(32, 16), item_sizes=(32, 16), head_sizes=(16, 8))
RATED, LIKED, SAVED = range(len(ACTIONS.names))
ITEM_COUNT, CANDIDATE_COUNT, NEXT_COUNT = 200, 60, 2


def made_items() -> ItemInputs:
    """Items whose collaborative vectors are the same for both taste actions."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(ITEM_COUNT, 1, SIZES.factor_size)).astype(np.float32).repeat(2, axis=1)
    factors /= np.linalg.norm(factors, axis=2, keepdims=True)
    vectors = rng.normal(size=(ITEM_COUNT, 4)).astype(np.float32)
    features = np.zeros((ITEM_COUNT, 3), np.float32)
    standardisation = Standardisation(np.zeros(3, np.float32), np.ones(3, np.float32))
    return ItemInputs(vectors, features, factors, standardisation, np.zeros(ITEM_COUNT, np.bool_))


def made_examples(items: ItemInputs, people_count: int) -> Examples:
    """People with one like and one save in their history.

    Next they like the two candidates nearest to what they liked, and save two of the ten with the best retrieval
    score; nobody rates without liking. Retrieval scores are drawn and say nothing of nearness.
    """
    rng = np.random.default_rng(1)
    histories = PaddedHistories(
        rows=np.zeros((people_count, HISTORY_LENGTH), np.int32),
        mask=np.zeros((people_count, HISTORY_LENGTH), np.float32),
        actions=np.zeros((people_count, HISTORY_LENGTH), np.int32),
        values=np.zeros((people_count, HISTORY_LENGTH), np.float32),
        ages_days=np.zeros((people_count, HISTORY_LENGTH), np.float32),
        counts=np.full(people_count, 2),
    )
    rows = np.zeros((people_count, CANDIDATE_COUNT), np.int32)
    next_rows = np.zeros((people_count, 2 * NEXT_COUNT), np.int32)
    for person in range(people_count):
        liked, saved, *others = rng.permutation(ITEM_COUNT)[: CANDIDATE_COUNT + 2]
        histories.rows[person, -2:] = liked, saved
        histories.mask[person, -2:] = 1
        histories.actions[person, -2:] = 1, 2
        histories.values[person, -2:] = 5, 0
        rows[person] = others
        nearest = np.argsort(-items.factors[others, 0] @ items.factors[liked, 0])[:NEXT_COUNT]
        next_rows[person, :NEXT_COUNT] = rows[person, nearest]
        best = np.setdiff1d(np.arange(10), nearest)
        next_rows[person, NEXT_COUNT:] = rows[person, rng.choice(best, NEXT_COUNT, replace=False)]
    labels = np.zeros((people_count, 2 * NEXT_COUNT, 3), np.bool_)
    labels[:, :NEXT_COUNT, LIKED] = True
    labels[:, NEXT_COUNT:, SAVED] = True
    scores = -np.sort(-rng.uniform(0, 1, (people_count, CANDIDATE_COUNT)).astype(np.float32), axis=1)
    offsets = np.arange(people_count + 1) * 2 * NEXT_COUNT
    is_next = rows[:, :, None] == next_rows[:, None, :]
    seen_rows = histories.rows[:, -2:].ravel()
    return Examples(
        requests=Requests(
            users=np.arange(people_count),
            histories=histories,
            user_vectors=np.zeros((people_count, 4), np.float32),
            context=np.zeros((people_count, 6), np.float32),
            seen=(np.arange(people_count + 1) * 2, seen_rows),
        ),
        candidates=CandidateLists(rows, scores),
        next_offsets=offsets,
        next_rows=next_rows.ravel(),
        next_labels=labels.reshape(-1, 3),
        next_scores=(is_next * scores[:, :, None]).sum(axis=1).ravel().astype(np.float32),
        learn_offsets=offsets,
        learnable=np.arange(offsets[-1]),
        item_counts=np.full(ITEM_COUNT, 3),
    )
