from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.ranker.made_examples import ITEM_COUNT, made_examples, made_items
from training.config import RankerTraining
from training.ranker.examples import Examples
from training.ranker.negatives import NegativeSampler

ITEMS = made_items()
PEOPLE_COUNT = 40
EXAMPLES = made_examples(ITEMS, PEOPLE_COUNT)
NONE = RankerTraining(negative_count=0, random_negative_count=0)


def sampler(config: RankerTraining, examples: Examples = EXAMPLES, unseen: set[int] | None = None) -> NegativeSampler:
    new = np.isin(np.arange(ITEM_COUNT), list(unseen or ()))
    return NegativeSampler(examples, ITEMS.vectors, new, config)


def own_rows(examples: Examples, person: int) -> set[int]:
    nexts = examples.next_rows[examples.next_offsets[person] : examples.next_offsets[person + 1]]
    offsets, rows = examples.requests.seen
    return {*nexts.tolist(), *rows[offsets[person] : offsets[person + 1]].tolist()}


# No deadline: a busy machine is no failure.
@settings(deadline=None, max_examples=40)
@given(
    counts=st.tuples(*[st.integers(0, 30)] * 4),
    people=st.lists(st.integers(0, PEOPLE_COUNT - 1), min_size=1, max_size=8),
    unseen=st.sets(st.integers(0, ITEM_COUNT - 1), max_size=60),
    absent=st.integers(0, 59),
    seed=st.integers(0, 100),
)
def test_no_negative_is_the_persons_own_or_new_or_absent(
    counts: tuple[int, int, int, int], people: list[int], unseen: set[int], absent: int, seed: int
) -> None:
    hard, random, popular, in_batch = counts
    config = replace(
        NONE,
        negative_count=hard,
        random_negative_count=random,
        popularity_negative_count=popular,
        in_batch_negative_count=in_batch,
    )
    rows = EXAMPLES.candidates.rows.copy()
    rows[:, rows.shape[1] - absent :] = -1
    examples = replace(EXAMPLES, candidates=replace(EXAMPLES.candidates, rows=rows))
    drawn = sampler(config, examples, unseen).sample(np.array(people), np.random.default_rng(seed))
    assert drawn.rows.shape == drawn.scores.shape == drawn.weights.shape == (len(people), sum(counts))
    assert (drawn.rows >= 0).all()
    assert (drawn.rows < ITEM_COUNT).all()
    assert (drawn.weights >= 0).all()
    for position, person in enumerate(people):
        counted = set(drawn.rows[position][drawn.weights[position] > 0].tolist())
        assert not counted & own_rows(examples, person)
        assert not counted & unseen
    nexts = {row for person in people for row in own_rows(examples, person)}
    if in_batch:
        others = drawn.rows[:, -in_batch:][drawn.weights[:, -in_batch:] > 0]
        assert set(others.tolist()) <= nexts, "in-batch negatives are what others of the batch did next"
    assert set(drawn.rows[:, :hard][drawn.weights[:, :hard] > 0].tolist()) <= set(rows[people].ravel().tolist())


def test_hard_negatives_stand_for_all_candidates_between_them() -> None:
    drawn = sampler(replace(NONE, negative_count=15)).sample(np.arange(10), np.random.default_rng(0))
    # 60 candidates, 15 drawn.
    assert set(np.unique(drawn.weights).tolist()) <= {0.0, 4.0}
    assert (drawn.weights > 0).mean() > 0.5


def test_retrieval_scores_are_those_of_the_person_and_the_item() -> None:
    vectors = np.random.default_rng(2).normal(size=(PEOPLE_COUNT, 4)).astype(np.float32)
    examples = replace(EXAMPLES, requests=replace(EXAMPLES.requests, user_vectors=vectors))
    config = replace(NONE, random_negative_count=5, popularity_negative_count=5, in_batch_negative_count=5)
    drawn = sampler(config, examples).sample(np.array([3, 17]), np.random.default_rng(0))
    for position, person in enumerate((3, 17)):
        np.testing.assert_allclose(
            drawn.scores[position], ITEMS.vectors[drawn.rows[position]] @ vectors[person], rtol=1e-5
        )


def frequencies(config: RankerTraining, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """How often each item was drawn for somebody who owns nothing, and the sum of the weights it had."""
    rng, drawer = np.random.default_rng(0), sampler(config, examples)
    times, weights = np.zeros(ITEM_COUNT), np.zeros(ITEM_COUNT)
    for _ in range(200):
        drawn = drawer.sample(np.arange(PEOPLE_COUNT), rng)
        kept = drawn.weights > 0
        times += np.bincount(drawn.rows[kept], minlength=ITEM_COUNT)
        weights += np.bincount(drawn.rows[kept], weights=drawn.weights[kept], minlength=ITEM_COUNT)
    return times, weights


def test_popular_negatives_are_drawn_by_a_power_of_their_counts() -> None:
    counts = np.arange(ITEM_COUNT) ** 2
    examples = replace(EXAMPLES, item_counts=counts)
    config = replace(NONE, popularity_negative_count=40, popularity_power=0.5, negative_correction=0.0)
    times, weights = frequencies(config, examples)
    # The root of a square is the row itself; rare ones are left out, where chance says more.
    share = times / times.sum()
    expected = np.arange(ITEM_COUNT) / np.arange(ITEM_COUNT).sum()
    np.testing.assert_allclose(share[100:], expected[100:], rtol=0.15)
    np.testing.assert_allclose(weights, times, rtol=1e-6)


@pytest.mark.parametrize("kind", ["popularity_negative_count", "in_batch_negative_count"])
def test_corrected_negatives_weigh_as_much_as_uniform_ones(kind: str) -> None:
    """Importance weighting: E over q of w f = E over the uniform distribution of f, for the items that q reaches."""
    counts = 1 + np.arange(ITEM_COUNT)
    examples = replace(EXAMPLES, item_counts=counts)
    changes: dict[str, Any] = {kind: 40}
    times, weights = frequencies(replace(NONE, **changes), examples)
    reached = times > 400
    assert reached.sum() > 20
    means = weights[reached] / (200 * 40 * PEOPLE_COUNT)
    if kind.startswith("popularity"):
        chances = counts**0.75 / (counts**0.75).sum()
    else:
        chances = np.bincount(EXAMPLES.next_rows[EXAMPLES.learnable], minlength=ITEM_COUNT) / len(EXAMPLES.learnable)
    each = weights[reached] / times[reached]
    np.testing.assert_allclose(each, 1 / (ITEM_COUNT * chances[reached]), rtol=1e-4)
    # Those drawn for their own people count for nothing, a few percent.
    np.testing.assert_allclose(means, 1 / ITEM_COUNT, rtol=0.25)


def test_without_anything_popular_all_are_equally_so() -> None:
    examples = replace(EXAMPLES, item_counts=np.zeros(ITEM_COUNT, np.int64))
    times, _ = frequencies(replace(NONE, popularity_negative_count=40), examples)
    assert times.min() > 0.7 * times.mean()


def test_nobody_else_in_the_batch_leaves_no_in_batch_negative() -> None:
    drawn = sampler(replace(NONE, in_batch_negative_count=6)).sample(np.array([5]), np.random.default_rng(0))
    assert drawn.rows.shape == (1, 6)
    assert not drawn.weights.any()


def test_a_batch_in_which_nobody_did_anything_has_no_in_batch_negative() -> None:
    nothing = replace(EXAMPLES, learn_offsets=np.zeros(PEOPLE_COUNT + 1, np.int64), learnable=np.zeros(0, np.int64))
    drawn = sampler(replace(NONE, in_batch_negative_count=6), nothing).sample(np.arange(3), np.random.default_rng(0))
    assert not drawn.weights.any()


def test_shown_negatives_are_what_the_person_was_shown_and_stand_for_all_of_it() -> None:
    shown = {0: [7, 9, 11], 2: [20]}
    offsets = np.zeros(len(EXAMPLES.requests) + 1, np.int64)
    for person, rows in shown.items():
        offsets[person + 1 :] += len(rows)
    examples = replace(EXAMPLES, shown=(offsets, np.array([7, 9, 11, 20], np.int32)))
    drawn = sampler(replace(NONE, shown_negative_count=30), examples).sample(np.arange(4), np.random.default_rng(0))
    for person in range(4):
        wanted = set(shown.get(person, ()))
        weighed = drawn.weights[person] > 0
        assert set(drawn.rows[person, weighed].tolist()) <= wanted
        if person == 0:
            assert set(drawn.rows[0, weighed].tolist()) == wanted - own_rows(EXAMPLES, 0)
            assert set(drawn.weights[0, weighed].tolist()) <= {np.float32(3 / 30)}
    assert not drawn.weights[[1, 3]].any()


def test_without_a_log_nothing_was_shown() -> None:
    drawn = sampler(replace(NONE, shown_negative_count=5)).sample(np.arange(3), np.random.default_rng(0))
    assert drawn.rows.shape == (3, 5)
    assert not drawn.weights.any()
