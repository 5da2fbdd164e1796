from __future__ import annotations

import numpy as np
import pytest

from retrieval_service.engine.index.measurement import measure_costs, measure_filtered, measure_spread, nearest_rows
from tests.unit.retrieval_service.engine.index.small_index import (
    ENTRIES,
    ITEM_COUNT,
    QUERIES,
    VECTORS,
    coarse_lists,
    faiss_parts,
    measured,
    nearest,
    row_lists,
)
from twostage.bundle.manifest import FilteredEntry

ENTRY = ENTRIES["ivf_fp16"].model_copy(update=measured())
RANDOM = {"random 0.5": 0.5, "random 0.1": 0.1, "random 0.01": 0.01}
ON_CONTENT = {"all but the own group", "half of the other groups", "one other group"}


def filtered(recall_target: float, *, shard_count: int = 1, at: int = 30) -> tuple[float, list[FilteredEntry]]:
    entry = ENTRY.model_copy(update={"recall_at": at})
    parts = faiss_parts("ivf_fp16", shard_count)
    return measure_filtered(parts, entry, VECTORS, row_lists(), QUERIES, recall_target=recall_target, seed=3)


def test_the_spread_is_that_of_all_rows_around_their_lists_centres() -> None:
    centroids = coarse_lists().centroids
    rests = [
        float(query @ vector - query @ centroids[its])
        for vector, its in zip(VECTORS, row_lists(), strict=True)
        for query in QUERIES[:8]
    ]
    assert measure_spread(VECTORS, centroids, row_lists(), QUERIES[:8]) == pytest.approx(np.std(rests), rel=0.03)


def test_the_spread_of_rows_that_follow_a_normal_distribution_is_its_own() -> None:
    random = np.random.default_rng(0)
    centroids = random.normal(size=(20, 8)).astype(np.float32)
    its = random.integers(0, 20, 3000)
    vectors = (centroids[its] + 0.07 * random.normal(size=(3000, 8))).astype(np.float32)
    assert measure_spread(vectors, centroids, its, np.eye(8, dtype=np.float32)) == pytest.approx(0.07, rel=0.03)


def test_the_spread_of_rows_that_are_their_centres_is_none() -> None:
    assert measure_spread(VECTORS[:50], VECTORS[:50], np.arange(50), QUERIES) == 0.0


def test_random_filters_and_filters_on_content_are_measured() -> None:
    coverage, kinds = filtered(0.9)
    assert {one.kind for one in kinds} == {*RANDOM, *ON_CONTENT}
    selectivities = {one.kind: one.selectivity for one in kinds}
    for kind, share in RANDOM.items():
        assert selectivities[kind] == pytest.approx(share, rel=0.25)
    assert selectivities["all but the own group"] > 0.7
    assert 0.3 < selectivities["half of the other groups"] < 0.7
    assert selectivities["one other group"] < 0.2
    assert all(one.recall >= 0.9 for one in kinds)
    assert coverage < 0.998


@pytest.mark.parametrize("at", [31, 301])
def test_random_filters_that_leave_less_than_twice_what_is_asked_for_are_not(at: int) -> None:
    _, kinds = filtered(0.0, at=at)
    assert {one.kind for one in kinds} - ON_CONTENT == {
        kind for kind, share in RANDOM.items() if share * ITEM_COUNT >= 2 * at
    }


def test_the_least_coverage_that_reaches_the_recall_is_taken_and_else_the_deepest() -> None:
    easily, at_once = filtered(0.0)
    assert easily == 0.95
    assert filtered(min(one.recall for one in at_once))[0] == easily
    deepest, kinds = filtered(1.01)
    assert deepest == 0.998
    recalls = {one.kind: one.recall for one in kinds}
    assert all(recalls[one.kind] >= one.recall - 0.002 for one in at_once)
    between = min(one.recall for one in at_once) + 0.0005
    if min(recalls.values()) >= between:
        assert easily < filtered(between)[0] <= deepest


def test_shards_are_measured_as_the_whole() -> None:
    whole, shards = filtered(0.9), filtered(0.9, shard_count=3)
    assert whole[0] == shards[0]
    assert [(one.kind, one.selectivity, one.recall) for one in whole[1]] == [
        (one.kind, one.selectivity, one.recall) for one in shards[1]
    ]


@pytest.mark.parametrize("shard_count", [1, 3])
def test_costs_are_nanoseconds_for_each_row(shard_count: int) -> None:
    costs = measure_costs(faiss_parts("ivf_fp16", shard_count), ENTRY, VECTORS, row_lists(), QUERIES)
    assert set(costs) == {"code", "listed", "exact"}
    assert all(0.5 <= cost < 10_000 for cost in costs.values())


def test_the_exact_nearest_are_those_of_double_precision() -> None:
    assert np.array_equal(nearest_rows(VECTORS, QUERIES, 40), [nearest(query, 40) for query in QUERIES])
