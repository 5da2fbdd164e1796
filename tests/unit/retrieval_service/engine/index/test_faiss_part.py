from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.index import faiss_part
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.faiss_part import FaissPart
from retrieval_service.engine.index.selector_support import SelectorSupport, search_parameters
from tests.unit.retrieval_service.engine.index.small_index import (
    CENTRES,
    CLUSTER_COUNT,
    CLUSTERS,
    DIMENSION,
    ENTRIES,
    ITEM_COUNT,
    LIST_COUNT,
    QUERIES,
    VECTORS,
    coarse_lists,
    faiss_parts,
    measured,
    nearest,
    opened,
    parts,
    recall,
    row_lists,
)
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

PROBING = {"code": 0.001, "listed": 1e3, "exact": 1e3}
LISTING = {"code": 1e6, "listed": 0.001, "exact": 10.0}
SCANNING = {"code": 1e6, "listed": 1e6, "exact": 0.001}
INVERTED = ["ivf_fp16", "ivf_pq1", "rabitq4"]


def share_of(share: float, seed: int = 0) -> RowSet:
    return RowSet.of_mask(np.random.default_rng(seed).random(ITEM_COUNT) < share)


def lists_of(rows: NDArray[np.uint32], query: NDArray[np.float32]) -> int:
    """How many of the nearest lists hold all of the rows."""
    centroids = faiss_parts("ivf_fp16")[0].quantizer.reconstruct_n(0, LIST_COUNT)
    place = np.argsort(np.argsort(-(centroids @ query)))
    return int(place[row_lists()[rows]].max()) + 1


def far_clusters(query: NDArray[np.float32], share: float) -> RowSet:
    """So large a share of the rows, out of the clusters whose centres are farthest from the query."""
    by_nearness = np.argsort(CENTRES @ query)
    place = np.empty(CLUSTER_COUNT, np.intp)
    place[by_nearness] = np.arange(CLUSTER_COUNT)
    order = np.argsort(place[CLUSTERS], kind="stable")
    return RowSet.of_rows(order[: round(share * ITEM_COUNT)], ITEM_COUNT)


@pytest.mark.parametrize("name", ["ivf_fp16", "ivf_pq1"])
@pytest.mark.parametrize("excluded_count", [None, 0, 1, 15, 30])
def test_where_no_more_are_excluded_than_are_wanted_so_many_more_lists_are_probed(
    name: str, excluded_count: int | None
) -> None:
    (part,) = parts(name, **measured(), costs_ns=LISTING)
    for query in QUERIES[:10]:
        excluded = nearest(query, excluded_count or 0)
        selector = None if excluded_count is None else RowSet.all_rows(ITEM_COUNT).without(excluded)
        pool = part.pool(query, 30, selector)
        assert pool.code_keys is not None
        # Eight lists are probed for thirty rows.
        probe_count = int(np.ceil(8 * (30 + (excluded_count or 0)) / 30))
        parameters = faiss.SearchParametersIVF(nprobe=probe_count)  # type: ignore[call-arg]
        (keys,), (found,) = faiss_parts(name)[0].search(query[np.newaxis], 600, params=parameters)
        # Which of the rows that tie at the edge are found is told elsewhere; their keys are equal.
        expected = keys[(found >= 0) & ~np.isin(found, excluded)][: pool.pool_count]
        assert np.sort(pool.code_keys).tolist() == np.sort(expected).tolist()


def test_where_one_more_is_excluded_than_is_wanted_the_lists_are_reckoned() -> None:
    (part,) = parts("ivf_fp16", **measured(), costs_ns=LISTING)
    selector = RowSet.all_rows(ITEM_COUNT).without(nearest(QUERIES[0], 31))
    assert part.pool(QUERIES[0], 30, selector).code_keys is None


def near_rows(name: str, query: NDArray[np.float32], count: int, selector: RowSet) -> NDArray[np.uint32]:
    """The selector's rows in the lists that a search is reckoned to reach."""
    known = coarse_lists(ENTRIES[name].model_copy(update=measured()))
    near = known.reach(query, count, selector).near
    found: NDArray[np.uint32] = selector.rows[near[row_lists()[selector.rows]]]
    return found


@pytest.mark.parametrize("share", [0.02, 0.1, 0.6])
def test_where_probing_is_cheaper_the_lists_that_are_reckoned_are_probed(share: float) -> None:
    (part,) = parts("ivf_fp16", **measured(), costs_ns=PROBING, probe_count=1)
    selector = share_of(share)
    for query in QUERIES[:10]:
        pool = part.pool(query, 30, selector)
        assert pool.code_keys is not None
        assert len(pool.rows) == 30
        allowed = near_rows("ivf_fp16", query, 30, selector)
        assert np.isin(pool.rows, allowed).all()
        best = allowed[np.argsort(-(VECTORS[allowed].astype(np.float64) @ query))[:30]]
        # One that the codes of 16 bits put in the wrong order may be missing.
        assert np.isin(best, pool.rows).sum() >= 29


def test_a_filter_never_makes_a_search_shallower_than_it_is_without() -> None:
    (part,) = parts("ivf_fp16", spread=0.001, coverage=0.01, costs_ns=PROBING, probe_count=LIST_COUNT)
    selector = share_of(0.8)
    for query in QUERIES[:10]:
        assert np.isin(nearest(query, 30, selector), part.pool(query, 30, selector).rows).sum() >= 29


@pytest.mark.parametrize("share", [0.02, 0.1, 0.6])
def test_where_listing_is_cheaper_the_rows_of_the_lists_that_are_reckoned_are_scanned_exactly(share: float) -> None:
    (part,) = parts("ivf_pq1", **measured(), costs_ns=LISTING)
    selector = share_of(share)
    for query in QUERIES[:10]:
        pool = part.pool(query, 30, selector)
        assert pool.code_keys is None
        assert 30 <= len(pool.rows) < len(selector)
        assert pool.rows.tolist() == near_rows("ivf_pq1", query, 30, selector).tolist()
        np.testing.assert_allclose(pool.keys, VECTORS[pool.rows] @ query, atol=1e-5)


@pytest.mark.parametrize(("count", "costs"), [(41, PROBING), (41, LISTING), (5, SCANNING)])
def test_few_rows_and_those_that_are_scanned_for_less_are_all_scanned(count: int, costs: dict[str, float]) -> None:
    (part,) = parts("ivf_pq1", **measured(), costs_ns=costs)
    selector = share_of(0.01)
    assert count < len(selector)
    assert len(selector) <= 1.5 * count or costs is SCANNING
    pool = part.pool(QUERIES[0], count, selector)
    assert pool.code_keys is None
    assert np.array_equal(pool.rows, selector.rows)


@pytest.mark.parametrize("name", list(ENTRIES))
@pytest.mark.parametrize("shape", [(0,), (DIMENSION - 1,), (DIMENSION + 1,), (1, DIMENSION), ()])
def test_a_vector_of_another_length_is_refused(name: str, shape: tuple[int, ...]) -> None:
    (part,) = parts(name)
    for selector in (None, share_of(0.5), RowSet.of_mask(np.zeros(ITEM_COUNT, np.bool_))):
        for exhaustive in (False, True):
            with pytest.raises(ValueError, match=rf"vector: expected shape \({DIMENSION},\), received "):
                part.pool(np.ones(shape, np.float32), 5, selector, exhaustive=exhaustive)


@pytest.mark.parametrize(("name", "least"), [("exact", 0.5), ("hnsw", 0.2)])
def test_without_lists_a_filter_that_leaves_little_is_scanned(name: str, least: float) -> None:
    (part,) = parts(name)
    above, below = share_of(least + 0.1), share_of(least - 0.1)
    assert np.array_equal(part.pool(QUERIES[0], 30, below).rows, below.rows)
    assert len(part.pool(QUERIES[0], 30, above).rows) == 30


@pytest.mark.parametrize("name", list(ENTRIES))
@pytest.mark.parametrize("shard", [0, 2])
def test_an_exhaustive_search_scans_the_shards_rows_that_the_selector_leaves(name: str, shard: int) -> None:
    if name == "hnsw":
        (part,), rows = parts(name), range(ITEM_COUNT)
    else:
        part, rows = parts(name, 3)[shard], (range(1984), range(1984, 3968), range(3968, ITEM_COUNT))[shard]
    selector = share_of(0.3)
    for given, allowed in ((None, np.arange(ITEM_COUNT)), (selector, selector.rows)):
        pool = part.pool(QUERIES[0], 5, given, exhaustive=True)
        assert pool.code_keys is None
        assert pool.rows.tolist() == [row for row in allowed.tolist() if row in rows]
        np.testing.assert_allclose(pool.keys, VECTORS[pool.rows] @ QUERIES[0], atol=1e-5)


@pytest.mark.parametrize("name", list(ENTRIES))
def test_a_selector_of_nothing_finds_nothing(name: str) -> None:
    (part,) = parts(name, **measured())
    for exhaustive in (False, True):
        assert (
            len(part.pool(QUERIES[0], 5, RowSet.of_mask(np.zeros(ITEM_COUNT, np.bool_)), exhaustive=exhaustive).rows)
            == 0
        )


@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "hnsw"])
def test_searches_by_turns_obey_each_its_own_selector_and_depth(name: str) -> None:
    (part,) = parts(name, **measured())
    halves = [share_of(0.99, seed) for seed in (1, 2)]
    for turn in range(3):
        for selector in halves:
            for query in QUERIES[:3]:
                for count in (5, 60):
                    pool = part.pool(query, count, selector)
                    assert selector.has(pool.rows).all()
                    alone = parts(name, **measured())[0].pool(query, count, RowSet(selector.words, ITEM_COUNT))
                    assert pool.rows.tolist() == alone.rows.tolist(), (turn, count)


@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "hnsw"])
def test_searches_side_by_side_obey_each_its_own_selector_even_when_nobody_else_keeps_it(name: str) -> None:
    (part,) = parts(name, **measured())
    words = [share_of(0.99, seed).words for seed in range(4)]
    alone = [part.pool(QUERIES[0], 60, RowSet(mine, ITEM_COUNT)).rows.tolist() for mine in words]

    def search(number: int) -> bool:
        # Bitmaps that end with their requests: FAISS has bare pointers to them.
        return all(
            part.pool(QUERIES[0], 60, selector).rows.tolist() == alone[number % 4]
            for selector in [RowSet(words[number % 4].copy(), ITEM_COUNT) for _ in range(10)]
            for _ in range(2)
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(search, range(16)))


def test_what_a_selector_needs_is_made_once_for_all_searches_of_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    (part,) = parts("exact")
    made: list[RowSet | None] = []

    def making(index: Any, selector: RowSet | None, **asked: int) -> Any:
        made.append(selector)
        return search_parameters(index, selector, **asked)

    monkeypatch.setattr(faiss_part, "search_parameters", making)
    first, second = share_of(0.9, 1), share_of(0.9, 2)
    for selector in (first, first, first, second, second, first):
        part.pool(QUERIES[0], 5, selector)
    assert [each is first for each in made] == [True, False, True]


@pytest.mark.parametrize("name", INVERTED)
def test_the_pool_holds_the_best_codes_and_is_as_large_as_the_factor_says(name: str) -> None:
    (part,) = parts(name)
    for count in (1, 7, 30):
        pool = part.pool(QUERIES[0], count, None)
        assert len(pool.rows) == pool.pool_count == int(np.ceil(count * ENTRIES[name].pool_factor))
        more = part.pool(QUERIES[0], 2 * count + 1, None)
        assert pool.code_keys is not None
        assert more.code_keys is not None
        assert set(pool.rows.tolist()) <= set(more.rows.tolist())
        assert pool.code_keys.min() >= np.sort(more.code_keys)[::-1][len(pool.rows)]


@pytest.mark.parametrize("name", ["ivf_fp16", "ivf_pq1", "hnsw"])
@pytest.mark.parametrize("count", [30, 120, 400])
def test_asking_for_more_searches_deeper_and_keeps_the_recall(name: str, count: int) -> None:
    assert recall(opened(name), count) >= 0.9


@pytest.mark.parametrize("costs", [PROBING, LISTING, {}])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("name", ["ivf_fp16", "ivf_pq1"])
def test_filters_that_leave_only_clusters_far_from_the_query_keep_the_recall(
    name: str, share: float, costs: dict[str, float]
) -> None:
    index = opened(name, **measured(), costs_ns=costs)
    assert recall(index, 30, share_of(share)) >= 0.9
    found = []
    for query in QUERIES:
        selector = far_clusters(query, share)
        rows, _ = index.search(query, 30, selector)
        assert len(rows) == 30
        found.append(np.isin(nearest(query, 30, selector), rows).mean())
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_an_index_that_was_not_measured_under_filters_keeps_the_recall_under_random_ones(share: float) -> None:
    assert recall(opened("ivf_fp16"), 30, share_of(share)) >= 0.9


class Ignoring(faiss.IndexFlatIP):
    """A flat index that takes search parameters and does not heed them, as FAISS's refinement does at its top."""

    def search(self, x: Any, k: int, *, params: Any = None, D: Any = None, I: Any = None) -> Any:  # noqa: ARG002, N803, E741 - FAISS's names
        """Finds the nearest of all rows."""
        return super().search(x, k)

    def search_c(self, n: int, x: Any, k: int, distances: Any, labels: Any, params: Any = None) -> None:  # noqa: ARG002
        """Finds the nearest of all rows."""
        super().search_c(n, x, k, distances, labels)  # type: ignore[misc]


@pytest.fixture(scope="module")
def ignoring() -> FaissPart:
    index = Ignoring(DIMENSION)
    index.add(VECTORS)
    return FaissPart(index, ENTRIES["exact"], VECTORS, range(ITEM_COUNT), None)


@pytest.fixture(scope="module")
def refusing() -> FaissPart:
    index = faiss.IndexPQFastScan(DIMENSION, DIMENSION, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS)
    index.add(VECTORS)
    entry = IndexEntry(family="ivf_pq", factory="PQ32x4fs", file="index.faiss", recall_at=30, pool_factor=2)
    return FaissPart(index, entry, VECTORS, range(ITEM_COUNT), None)


@pytest.mark.parametrize("share", [1.0, 0.97, 0.6, 0.1, 0.0])
@pytest.mark.parametrize(
    ("kind", "support"), [("ignoring", SelectorSupport.IGNORED), ("refusing", SelectorSupport.REFUSED)]
)
def test_what_an_index_finds_that_does_not_honour_selectors_is_sieved(
    request: pytest.FixtureRequest, kind: str, support: SelectorSupport, share: float
) -> None:
    part: FaissPart = request.getfixturevalue(kind)
    assert part.selector_support is support
    index = FaissIndex([part], ITEM_COUNT)
    for number, query in enumerate(QUERIES[:5]):
        selector = share_of(share, number)
        rows, _ = index.search(query, 30, selector)
        assert len(rows) == min(30, len(selector))
        assert selector.has(rows).all()
        if kind == "ignoring":
            assert rows.tolist() == nearest(query, 30, selector).tolist()


def test_what_sieving_leaves_too_few_of_is_scanned(ignoring: FaissPart) -> None:
    query = QUERIES[0]
    selector = RowSet.all_rows(ITEM_COUNT).without(nearest(query, 500))
    assert len(ignoring.pool(query, 30, selector).rows) < 30
    rows, _ = FaissIndex([ignoring], ITEM_COUNT).search(query, 30, selector)
    assert rows.tolist() == nearest(query, 30, selector).tolist()


def test_a_search_leaves_the_vector_and_the_selector_as_they_were() -> None:
    query, selector = QUERIES[0].copy(), share_of(0.95)
    query.flags.writeable = False
    before = selector.words.copy()
    for name in ENTRIES:
        opened(name).search(query, 30, selector)
    assert np.array_equal(selector.words, before)
