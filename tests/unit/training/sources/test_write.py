from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.unit.training.tiny_dataset import tiny_dataset
from training.config import SourcesConfig
from training.sources.write import write_orders
from twostage.bundle.manifest import OrdersEntry


def test_only_taste_trends_but_anything_makes_an_item_arrive(tmp_path: Path) -> None:
    dataset = tiny_dataset(timed=True)
    past, item_count = dataset.interactions, len(dataset.catalogue)
    orders = write_orders(tmp_path, past, item_count, dataset.actions, SourcesConfig(trending_half_life_days=7))
    assert orders.trending is not None
    assert orders.arrivals is not None
    assert past.times is not None
    liked = (past.actions == 1) | (past.values >= 4)
    newest = past.times.max()
    weights = 2.0 ** (-(newest - past.times) / 86_400 / 7)
    sums = [weights[liked & (past.rows == row)].sum() for row in range(item_count)]
    trending = np.load(tmp_path / orders.trending).tolist()
    assert sorted(trending) == [row for row in range(item_count) if sums[row] >= 1 / 64]
    np.testing.assert_allclose([sums[row] for row in trending], sorted((sums[row] for row in trending), reverse=True))
    firsts = {row: past.times[past.rows == row].min() for row in set(past.rows.tolist())}
    arrivals = np.load(tmp_path / orders.arrivals).tolist()
    assert arrivals == sorted(firsts, key=lambda row: (-firsts[row], row))


def test_without_times_nothing_is_written(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    past = replace(dataset.interactions, times=None)
    orders = write_orders(tmp_path, past, len(dataset.catalogue), dataset.actions, SourcesConfig())
    assert orders == OrdersEntry()
    assert not list(tmp_path.iterdir())
