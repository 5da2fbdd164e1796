from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.tiny_dataset import tiny_dataset
from training.config import TowerTraining
from training.data.dataset import Interactions
from training.features.histories import taste_of
from training.towers.batches import BatchSampler

CONFIG = TowerTraining(item_count=40, pair_count=300, half_life_days=None)


def _taste(timed: bool = False) -> Interactions:
    dataset = tiny_dataset(timed=timed)
    return dataset.interactions.take(taste_of(dataset.interactions, dataset.actions))


def _sets(taste: Interactions) -> dict[int, set[int]]:
    return {user: set(taste.rows[taste.users == user].tolist()) for user in np.unique(taste.users).tolist()}


def test_a_pair_is_a_target_and_the_same_persons_other_items() -> None:
    taste = _taste()
    wholes = {frozenset(rows) for rows in _sets(taste).values()}
    batch = BatchSampler(taste, 150, CONFIG, seed=0).draw()
    for target, rows, mask in zip(batch.targets, batch.history_rows, batch.history_mask, strict=True):
        history = rows[mask > 0].tolist()
        own = int(batch.items[target])
        assert own not in history
        assert len(set(history)) == len(history)
        # Nobody here has more than fifty, so that target and history make up the whole.
        assert frozenset([own, *history]) in wholes


def test_with_times_a_history_ends_before_its_target() -> None:
    taste = _taste(timed=True)
    batch = BatchSampler(taste, 150, CONFIG, seed=0).draw()
    sequences = []
    for user in np.unique(taste.users):
        rows = taste.rows[taste.users == user].tolist()
        sequences.append(list(dict.fromkeys(rows)))
    for target, rows, mask in zip(batch.targets, batch.history_rows, batch.history_mask, strict=True):
        history = [*rows[mask > 0].tolist(), int(batch.items[target])]
        assert len(history) > 1
        assert any(sequence[: len(history)] == history for sequence in sequences)


def test_a_persons_own_items_are_no_negatives_but_the_target_competes() -> None:
    taste = _taste()
    batch = BatchSampler(taste, 150, CONFIG, seed=0).draw()
    for pair, target in enumerate(batch.targets):
        whole = {int(batch.items[target]), *batch.history_rows[pair][batch.history_mask[pair] > 0].tolist()}
        expected = [int(row) in whole and row != batch.items[target] for row in batch.items]
        np.testing.assert_array_equal(batch.excluded[pair], expected)


def test_history_positions_point_into_the_batchs_items() -> None:
    batch = BatchSampler(_taste(), 150, CONFIG, seed=0).draw()
    inside = batch.history_positions >= 0
    np.testing.assert_array_equal(batch.items[batch.history_positions[inside]], batch.history_rows[inside])
    outside = (batch.history_mask > 0) & ~inside
    assert not np.isin(batch.history_rows[outside], batch.items).any()


def test_targets_come_as_often_as_people_chose_them() -> None:
    taste = _taste()
    sampler = BatchSampler(taste, 150, TowerTraining(item_count=150, pair_count=20_000, half_life_days=None), seed=0)
    batch = sampler.draw()
    drawn = np.bincount(batch.items[batch.targets], minlength=150) / 20_000
    np.testing.assert_allclose(drawn, np.exp(sampler.log_popularity), atol=4 * np.sqrt(drawn.max() / 20_000))


def test_the_same_seed_draws_the_same_batch_and_another_does_not() -> None:
    first, again, other = (BatchSampler(_taste(), 150, CONFIG, seed).draw() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.history_rows, again.history_rows)
    assert not np.array_equal(first.history_rows, other.history_rows)


def test_nobody_with_two_items_is_refused() -> None:
    taste = _taste()
    _, firsts = np.unique(taste.users, return_index=True)
    with pytest.raises(ValueError, match="at least two liked items each, found none"):
        BatchSampler(taste.take(firsts), 150, CONFIG, seed=0)
