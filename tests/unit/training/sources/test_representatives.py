from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.sources.representatives import representative_rows

_GROUPS = 6


def _grouped(per_group: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors in tight, far-apart groups, and the group of each."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.standard_normal((16, 16)))[0][:_GROUPS]
    groups = rng.permutation(np.repeat(np.arange(_GROUPS), per_group))
    vectors = centres[groups] + 0.05 * rng.standard_normal((len(groups), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), groups


def test_each_cluster_is_stood_for_by_its_most_popular_central_item() -> None:
    vectors, groups = _grouped(40)
    popularity = np.random.default_rng(1).permutation(len(groups)).astype(np.float32)
    rows = representative_rows(vectors, popularity, most_count=_GROUPS, items_per_cluster=40, seed=0)
    assert sorted(groups[rows].tolist()) == list(range(_GROUPS))
    assert rows.dtype == np.uint32
    for row in rows:
        members = np.flatnonzero(groups == groups[row])
        mean = vectors[members].sum(axis=0)
        similarity = vectors[members] @ (mean / np.linalg.norm(mean))
        central = members[similarity >= np.median(similarity)]
        assert row == central[np.argmax(popularity[central])]


def test_the_most_popular_cluster_comes_first() -> None:
    vectors, groups = _grouped(40)
    popularity = np.ones(len(groups))
    popularity[groups == 4] = 3
    rows = representative_rows(vectors, popularity, most_count=_GROUPS, items_per_cluster=40, seed=0)
    assert groups[rows[0]] == 4


def test_a_beginning_of_the_list_is_more_diverse_than_as_many_popular_items() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 16))
    vectors[:, 0] *= 3
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    # What is popular lies on one side.
    popularity = np.exp(4 * vectors[:, 0] + rng.standard_normal(3000))
    rows = representative_rows(vectors, popularity, most_count=60, items_per_cluster=50, seed=0)
    assert len(rows) == 60
    for count in (4, 8, 20, 60):
        mine, popular = vectors[rows[:count]], vectors[np.argsort(-popularity)[:count]]
        assert (mine @ mine.T).mean() < (popular @ popular.T).mean() - 0.1


@pytest.mark.parametrize(("item_count", "expected"), [(1, 1), (49, 1), (150, 3), (2000, 10)])
def test_small_catalogues_have_fewer_representatives_and_all_are_distinct(item_count: int, expected: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((item_count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = representative_rows(vectors, np.zeros(item_count), most_count=10, items_per_cluster=50, seed=0)
    assert len(rows) == len(set(rows.tolist())) == expected


def test_the_same_seed_gives_the_same_representatives_also_from_a_sample() -> None:
    rng = np.random.default_rng(0)
    # More than 256 items a cluster, so that a sample is drawn.
    vectors = rng.standard_normal((2500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    popularity = rng.random(2500)
    first, again = (
        representative_rows(vectors, popularity, most_count=8, items_per_cluster=50, seed=5) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_items_with_the_same_vector_do_not_break_it() -> None:
    vectors = np.tile(np.eye(4, dtype=np.float32)[0], (200, 1))
    rows = representative_rows(vectors, np.arange(200), most_count=4, items_per_cluster=50, seed=0)
    assert 1 <= len(rows) <= 4
    assert rows[0] == 199
