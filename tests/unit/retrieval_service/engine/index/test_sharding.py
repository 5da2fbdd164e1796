"""Shards that are asked one by one and merged, as a gateway does, answer as one index over all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.index.construction import build_parts, silent
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.faiss_part import FaissPart
from retrieval_service.engine.index.families import index_specs
from retrieval_service.engine.index.measurement import searchable
from tests.unit.retrieval_service.engine.index.small_index import (
    ENTRIES,
    ITEM_COUNT,
    QUERIES,
    TIED,
    TIED_QUERIES,
    VECTORS,
    measured,
    opened,
    parts,
)
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList, merge_shards

NAMES = ["exact", "ivf_fp16", "ivf_pq1"]
COSTS: dict[str, dict[str, float]] = {
    "probing": {"code": 0.01, "listed": 100.0, "exact": 100.0},
    "listing": {"code": 1e4, "listed": 0.01, "exact": 1.0},
    "usual": {},
}

Answer = tuple[list[int], list[float]]


def answer(found: tuple[NDArray[np.uint32], NDArray[np.float32]]) -> Answer:
    return found[0].tolist(), found[1].tolist()


def merged(shards: list[FaissPart], query: NDArray[np.float32], count: int, selector: RowSet | None) -> Answer:
    """As a gateway does it: a list of each shard, and a second, exhaustive round when they are short."""
    allowed_count = len(VECTORS) if selector is None else len(selector)
    for exhaustive in (False, True):
        pools = [shard.pool(query, count, selector, exhaustive=exhaustive) for shard in shards]
        lists = [
            SourceList(
                Source.USER_VECTOR, pool.rows, pool.keys, count, pool.keys, pool.code_keys, pool_count=pool.pool_count
            )
            for pool in pools
        ]
        together = merge_shards(lists)
        if len(together.rows) >= min(count, allowed_count):
            break
    return together.rows.tolist(), together.scores.tolist()


@st.composite
def selectors(draw: st.DrawFn, item_count: int = ITEM_COUNT) -> RowSet | None:
    share = draw(st.sampled_from([None, 1.0, 0.95, 0.5, 0.1, 0.01, "one", "far", 0.0]))
    if share is None:
        return None
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    if share == "one":
        return RowSet.of_rows(generator.integers(0, item_count, 1), item_count)
    if share == "far":
        away = VECTORS @ VECTORS[draw(st.integers(0, item_count - 1))]
        return RowSet.of_mask(away < np.quantile(away, draw(st.sampled_from([0.02, 0.3, 0.9]))))
    return RowSet.of_mask(generator.random(item_count) < float(share))


@pytest.mark.parametrize("costs", list(COSTS))
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(
    query=st.integers(0, len(QUERIES) - 1), count=st.integers(1, 400) | st.just(ITEM_COUNT + 5), selector=selectors()
)
def test_three_shards_in_one_process_or_in_three_answer_as_the_whole(
    name: str, costs: str, query: int, count: int, selector: RowSet | None
) -> None:
    whole, shards = _indexes(name, costs)
    expected = answer(whole.search(QUERIES[query], count, selector))
    assert answer(FaissIndex(shards, ITEM_COUNT).search(QUERIES[query], count, selector)) == expected
    assert merged(shards, QUERIES[query], count, selector) == expected
    assert len(expected[0]) == min(count, ITEM_COUNT if selector is None else len(selector))


@pytest.mark.parametrize("costs", list(COSTS))
@pytest.mark.parametrize("name", ["ivf_fp16", "ivf_pq1"])
def test_a_filter_that_shards_meet_for_the_first_time_is_answered_as_one_that_they_know(name: str, costs: str) -> None:
    """A set of rows keeps them once they were asked for; what is reckoned must not hang on that."""
    whole, shards = _indexes(name, costs)
    random = np.random.default_rng(0)
    for query in QUERIES:
        mask = random.random(ITEM_COUNT) < 0.02
        expected = answer(whole.search(query, 20, RowSet.of_mask(mask)))
        assert answer(FaissIndex(shards, ITEM_COUNT).search(query, 20, RowSet.of_mask(mask))) == expected
        known = RowSet.of_mask(mask)
        _ = known.rows
        pools = [
            shard.pool(query, 20, one) for shard, one in zip(shards, [known, RowSet.of_mask(mask), known], strict=True)
        ]
        assert len({pool.code_keys is None for pool in pools}) == 1
        assert merged(shards, query, 20, known) == expected


_made: dict[tuple[str, str], tuple[FaissIndex, list[FaissPart]]] = {}


def _indexes(name: str, costs: str) -> tuple[FaissIndex, list[FaissPart]]:
    if (name, costs) not in _made:
        changes: dict[str, Any] = {**measured(), "costs_ns": COSTS[costs]}
        _made[name, costs] = opened(name, **changes), parts(name, 3, **changes)
    return _made[name, costs]


@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "ivf_pq1"])
@pytest.mark.parametrize("share", [None, 1.0, 0.95, 0.6, 0.1])
def test_rows_of_equal_vectors_are_the_same_ones_in_shards_and_in_the_whole(name: str, share: float | None) -> None:
    """Vectors that occur eight times each tie at every edge: of the count, of the pool, of a shard's share."""
    selector = None if share is None else RowSet.of_mask(np.random.default_rng(5).random(len(TIED)) < share)
    changes = measured(tied=True)
    whole, shards = opened(name, tied=True, **changes), opened(name, 3, tied=True, **changes)
    for query in TIED_QUERIES:
        for count in (1, 2, 5, 13, 60, 300):
            assert answer(shards.search(query, count, selector)) == answer(whole.search(query, count, selector))


@pytest.mark.parametrize("share", [None, 1.0, 0.95, 0.6, 0.1])
@pytest.mark.parametrize("shard_count", [1, 3])
def test_an_exact_index_keeps_the_lowest_of_the_rows_that_tie(share: float | None, shard_count: int) -> None:
    selector = None if share is None else RowSet.of_mask(np.random.default_rng(5).random(len(TIED)) < share)
    index = opened("exact", shard_count, tied=True)
    allowed = np.arange(len(TIED)) if selector is None else selector.rows
    for query in TIED_QUERIES:
        products = TIED[allowed].astype(np.float64) @ query.astype(np.float64)
        for count in (1, 2, 5, 13, 60, 300):
            expected = allowed[np.lexsort((allowed, -products))[:count]]
            assert index.search(query, count, selector)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("shard_count", [1, 3])
def test_where_more_rows_tie_than_are_spare_the_lowest_are_found(shard_count: int) -> None:
    """Five hundred equal rows, and fifty nearer ones that come later and push some of them out."""
    near, equal = np.eye(2, 32, dtype=np.float32)
    vectors = np.concatenate([np.tile(equal, (500, 1)), np.tile(near, (50, 1)), np.tile(equal, (450, 1))])
    query = (2 * near + equal) / np.float32(4)
    index = _exact_index(shard_count, vectors)
    expected = [*range(500, 550), *range(500), *range(550, 1000)]
    for count in (1, 49, 50, 51, 100, 400, 549, 550, 551, 999):
        assert index.search(query, count, None)[0].tolist() == expected[:count]


def _exact_index(shard_count: int, vectors: NDArray[np.float32]) -> FaissIndex:
    indexes = build_parts(index_specs(32)["exact"], vectors, None, shard_count=shard_count, seed=0, progress=silent)
    return searchable(indexes, ENTRIES["exact"], vectors, None)
