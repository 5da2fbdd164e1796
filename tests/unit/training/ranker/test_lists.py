from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.unit.training.ranker.made_examples import ITEM_COUNT, NEXT_COUNT, made_examples, made_items
from training.config import RankerTraining
from training.ranker.lists import ListSampler

ITEMS = made_items()
EXAMPLES = made_examples(ITEMS, 30)
CONFIG = RankerTraining(
    negative_count=10, random_negative_count=4, popularity_negative_count=3, in_batch_negative_count=2, positive_count=6
)
PEOPLE = np.arange(12)


def test_a_list_is_the_next_items_then_the_negatives() -> None:
    lists = ListSampler(EXAMPLES, ITEMS.vectors, np.zeros(ITEM_COUNT, np.bool_), CONFIG).sample(
        PEOPLE, np.random.default_rng(0)
    )
    assert lists.rows.shape == lists.scores.shape == lists.weights.shape == (12, 6 + 10 + 4 + 3 + 2)
    for person in PEOPLE:
        part = slice(EXAMPLES.next_offsets[person], EXAMPLES.next_offsets[person + 1])
        known = dict(zip(EXAMPLES.next_rows[part].tolist(), EXAMPLES.next_labels[part], strict=True))
        real = lists.weights[person, :6] > 0
        # All of them, in any order, when there is room; padding beyond.
        assert sorted(lists.rows[person, :6][real].tolist()) == sorted(known)
        assert real.sum() == 2 * NEXT_COUNT
        for place in np.flatnonzero(real):
            np.testing.assert_array_equal(lists.labels[person, place], known[int(lists.rows[person, place])])
        assert not lists.labels[person, :6][~real].any()
        assert not lists.labels[person, 6:].any()


def test_more_next_items_than_room_are_drawn_by_turns() -> None:
    config = replace(CONFIG, positive_count=2)
    drawer = ListSampler(EXAMPLES, ITEMS.vectors, np.zeros(ITEM_COUNT, np.bool_), config)
    rng = np.random.default_rng(0)
    seen = {row for _ in range(40) for row in drawer.sample(np.array([7]), rng).rows[0, :2].tolist()}
    assert seen == set(EXAMPLES.next_rows[EXAMPLES.next_offsets[7] : EXAMPLES.next_offsets[8]].tolist())


def test_the_same_seed_draws_the_same_lists() -> None:
    drawer = ListSampler(EXAMPLES, ITEMS.vectors, np.zeros(ITEM_COUNT, np.bool_), CONFIG)
    first, second = (drawer.sample(PEOPLE, np.random.default_rng(5)) for _ in range(2))
    for mine, theirs in zip(vars(first).values(), vars(second).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
