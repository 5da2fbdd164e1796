from __future__ import annotations

import numpy as np

from tests.unit.training.tiny_dataset import tiny_dataset
from training.features.contexts import encode_contexts
from training.features.histories import UserOrder, pad_histories, taste_of
from twostage.features.context import Context, encode_context
from twostage.features.history import History, pad_history


def test_padded_histories_equal_those_that_serving_makes_one_at_a_time() -> None:
    dataset = tiny_dataset(timed=True)
    past, schema = dataset.interactions, dataset.actions
    assert past.times is not None
    users = np.array([3, 77, 12])
    now = np.array([1_720_000_000, 1_700_000_100, 1_705_000_000])
    batch = pad_histories(UserOrder.of(past), users, schema, now)
    for position, user in enumerate(users):
        mine = np.flatnonzero(past.users == user)
        mine = mine[np.argsort(past.times[mine], kind="stable")]
        codes = np.array([1 + schema.recorded_names.index(past.recorded[a]) for a in past.actions[mine]], np.int32)
        history = History(past.rows[mine].astype(np.uint32), codes, past.values[mine], past.times[mine])
        one = pad_history(history, int(now[position]))
        np.testing.assert_array_equal(batch.rows[position], one.rows[0])
        np.testing.assert_array_equal(batch.mask[position], one.mask[0])
        np.testing.assert_array_equal(batch.actions[position], one.actions[0])
        np.testing.assert_array_equal(batch.values[position], one.values[0])
        np.testing.assert_allclose(batch.ages_days[position], one.ages_days[0], rtol=1e-6)
        assert batch.counts[position] == len(mine)


def test_only_the_newest_fifty_are_kept_oldest_first() -> None:
    dataset = tiny_dataset()
    past = dataset.interactions
    everyone = past.take(np.arange(len(past)))
    one = type(past)(["all"], past.recorded, np.zeros(len(past), np.int32), past.rows, past.actions, past.values)
    batch = pad_histories(UserOrder.of(one), np.array([0]), dataset.actions)
    np.testing.assert_array_equal(batch.rows[0], everyone.rows[-50:])
    assert batch.counts[0] == len(past)


def test_disliked_items_are_no_taste() -> None:
    dataset = tiny_dataset()
    past = dataset.interactions
    taste = taste_of(past, dataset.actions)
    np.testing.assert_array_equal(taste, (past.actions == 1) | (past.values >= 4))
    assert not taste.all()


def test_contexts_equal_those_that_serving_makes_one_at_a_time() -> None:
    times, counts = np.array([1_720_000_000, 0]), np.array([3, 70])
    expected = np.concatenate(
        [encode_context(Context(time_seconds=int(t)), int(c)) for t, c in zip(times, counts, strict=True)]
    )
    np.testing.assert_array_equal(encode_contexts(times, counts), expected)
