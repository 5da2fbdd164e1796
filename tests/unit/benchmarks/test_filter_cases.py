from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.retrieval.filter_cases import SELECTIVITIES, FilterCatalogue, shelves
from twostage.bundle.attributes import Attributes


def _drawn(count: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture
def catalogue() -> FilterCatalogue:
    return FilterCatalogue(_drawn(2_000, 1), _drawn(30, 2), None, seed=3)


def test_filters_let_pass_what_was_drawn(catalogue: FilterCatalogue, tmp_path: Path) -> None:
    kinds = catalogue.write(tmp_path)
    attributes = Attributes.open(tmp_path, kinds, 2_000)
    cases = list(catalogue.cases())
    assert len(cases) == 3 * len(SELECTIVITIES)
    for case in cases:
        for number, asked in enumerate(case.filters):
            assert np.array_equal(attributes.rows(asked).mask, case.masks(number)), case.name


def test_shelves_of_a_level_are_equally_large_and_lie_within_one_of_the_level_above() -> None:
    items, _ = shelves(_drawn(2_000, 1), _drawn(5, 2), (2, 5), np.random.default_rng(0))
    assert np.bincount(items[0]).tolist() == [1_000] * 2
    assert np.bincount(items[1]).tolist() == [200] * 10
    assert np.array_equal(items[1] // 5, items[0])


def test_an_item_that_asks_is_on_its_own_shelf() -> None:
    vectors = _drawn(2_000, 1)
    items, people = shelves(vectors, vectors[:300], (2, 5, 10), np.random.default_rng(0))
    for own, asked in zip(items, people, strict=True):
        # Rounding may move one that stands at a border.
        assert (own[:300] == asked).mean() > 0.98


def test_items_on_a_shelf_are_more_alike_than_any() -> None:
    vectors = _drawn(2_000, 1)
    items, _ = shelves(vectors, vectors[:1], (2, 5), np.random.default_rng(0))
    within = np.mean([(vectors[items[1] == code].mean(axis=0) ** 2).sum() for code in range(10)])
    assert within > 10 * (vectors.mean(axis=0) ** 2).sum()


def test_another_shelf_is_never_the_own_one(catalogue: FilterCatalogue) -> None:
    cases = {case.name: case for case in catalogue.cases()}
    for name, case in cases.items():
        if name.startswith("another shelf"):
            own = cases[name.replace("another shelf", "the person's own shelf")]
            assert not any(one == other for one, other in zip(case.filters, own.filters, strict=True))
