from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.index.coarse_lists import CoarseLists, Reach, Way
from tests.unit.retrieval_service.engine.index.small_index import (
    ENTRIES,
    ITEM_COUNT,
    LIST_COUNT,
    QUERIES,
    coarse_lists,
    measured,
    row_lists,
)
from twostage.bundle.row_set import RowSet

ENTRY = ENTRIES["ivf_fp16"]
BIN = 1 / 128
"""Inner products are told apart to so much."""
LEAST_ROWS = 1.5


def lists(**changes: Any) -> CoarseLists:
    return coarse_lists(ENTRY.model_copy(update={**measured(), **changes}))


def part_above(threshold: float, centre: float, spread: float) -> float:
    """The part of a normal distribution above a threshold."""
    return 0.5 * math.erfc((threshold - centre) / (spread * math.sqrt(2)))


def edge(
    centres: list[float], counts: list[int], threshold: float, spread: float, coverage: float, least: float
) -> float:
    """How near the farthest list is that is looked at: lists taken one by one, the nearest first."""
    order = sorted(range(len(centres)), key=lambda number: -centres[number])
    brings = [counts[number] * part_above(threshold, centres[number], spread) for number in order]
    brought = looked_at = 0.0
    for number, brings_it in zip(order, brings, strict=True):
        brought, looked_at = brought + brings_it, looked_at + counts[number]
        if brought >= coverage * sum(brings) and looked_at >= least:
            return centres[number]
    return -math.inf


def threshold_of(centres: list[float], counts: list[int], spread: float, count: int) -> float:
    """Above which ``count`` rows are expected, by halving; vectors of unit length have no inner product above 1."""
    low, high = -1.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        above = sum(number * part_above(middle, centre, spread) for number, centre in zip(counts, centres, strict=True))
        low, high = (middle, high) if above >= count else (low, middle)
    return low


def assert_as_far_as_reckoned(
    reach: Reach, centres: list[float], counts: list[int], count: int, spread: float, coverage: float
) -> None:
    """The lists are those of the continuous model, but for those within the bins' width of its edges."""
    exact = threshold_of(centres, counts, spread, count)
    edges = [
        edge(centres, counts, one, spread, part, LEAST_ROWS * count)
        for one in (exact - 2 * BIN, exact, exact + BIN)
        for part in (coverage - 1e-4, min(1.0, coverage + 1e-4))
    ]
    nearness = np.array(centres)
    assert reach.near[nearness > max(edges) + 2 * BIN].all()
    assert not reach.near[nearness < min(edges) - 2 * BIN].any()
    assert reach.near.sum() == reach.list_count
    assert nearness[reach.near].min() >= nearness[~reach.near].max(initial=-1) - BIN


@dataclass(frozen=True)
class Model:
    """Rows whose inner products with a vector are normally distributed around those of their lists' centres."""

    known: CoarseLists
    query: NDArray[np.float32]
    centres: NDArray[np.float64]
    row_of_lists: NDArray[np.intp]
    keys: NDArray[np.float64]

    def counts(self, selector: RowSet) -> list[int]:
        counted: list[int] = np.bincount(self.row_of_lists[selector.rows], minlength=len(self.centres)).tolist()
        return counted

    def found(self, reach: Reach, count: int, selector: RowSet) -> float:
        """The part of the ``count`` best rows that lie in the lists that are looked at."""
        best = selector.rows[np.argsort(-self.keys[selector.rows])[:count]]
        return float(reach.near[self.row_of_lists[best]].mean())


def model(seed: int, *, list_count: int = 300, size: int = 40, spread: float = 0.1, **changes: Any) -> Model:
    random = np.random.default_rng(seed)
    centroids = random.normal(size=(list_count, 8))
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    query = random.normal(size=8)
    query /= np.linalg.norm(query)
    centres = centroids @ query
    row_of_lists = random.permutation(np.repeat(np.arange(list_count), size))
    entry = ENTRY.model_copy(update={"spread": spread, "coverage": 0.98, **changes})
    keys = centres[row_of_lists] + spread * random.normal(size=len(row_of_lists))
    known = CoarseLists(centroids.astype(np.float32), row_of_lists.astype(np.uint16), entry)
    return Model(known, query.astype(np.float32), centres, row_of_lists, keys)


def far_from(made: Model, share: float) -> RowSet:
    """All rows of the lists farthest from the vector, about so large a share of all."""
    return RowSet.of_mask((made.centres < np.quantile(made.centres, share))[made.row_of_lists])


def random_of(made: Model, share: float, seed: int = 0) -> RowSet:
    return RowSet.of_mask(np.random.default_rng(seed).random(len(made.keys)) < share)


@pytest.mark.parametrize("coverage", [0.8, 0.98])
@pytest.mark.parametrize("spread", [0.03, 0.1, 0.3])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), share=st.sampled_from([0.02, 0.3, 1.0]), count=st.integers(1, 200))
def test_a_search_goes_as_far_as_the_normal_distribution_says(
    spread: float, coverage: float, seed: int, share: float, count: int
) -> None:
    """Sixteen rows of each list are all looked at, so that what a selector leaves of them is counted exactly."""
    made = model(seed, list_count=200, size=16, spread=spread, coverage=coverage)
    for selector in (random_of(made, share, seed), far_from(made, share)):
        if len(selector) <= LEAST_ROWS * count:
            continue
        counts = made.counts(selector)
        reach = made.known.reach(made.query, count, selector)
        assert_as_far_as_reckoned(reach, made.centres.tolist(), counts, count, spread, coverage)


@pytest.mark.parametrize("kind", ["random", "far", "few"])
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.99])
def test_where_rows_lie_as_reckoned_the_coverages_part_of_the_wanted_is_reached_and_hardly_more(
    coverage: float, kind: str
) -> None:
    found = []
    for seed in range(15):
        made = model(seed, spread=0.1, coverage=coverage)
        share = {"random": 0.5, "far": 0.4, "few": 0.03}[kind]
        count = 40 if kind == "few" else 150
        selector = far_from(made, share) if kind == "far" else random_of(made, share, seed)
        reach = made.known.reach(made.query, count, selector)
        assert reach.list_count < len(made.centres)
        found.append(made.found(reach, count, selector))
    # What lies in one bin is taken as a whole; of few rows half as many again as are wanted are most of those near.
    assert coverage - 0.015 <= np.mean(found) <= (1.0 if kind == "few" else coverage + 0.06)


def test_a_selector_that_leaves_nothing_near_makes_more_lists_than_one_that_leaves_rows_anywhere() -> None:
    for seed in range(10):
        made = model(seed)
        far = far_from(made, 0.5)
        anywhere = random_of(made, 0.5, seed)
        nearest = RowSet.all_rows(len(made.keys)) - far
        counts = [made.known.reach(made.query, 100, one).list_count for one in (far, anywhere, nearest)]
        assert counts[0] > 150 > counts[1]
        assert counts[2] < 150


@given(seed=st.integers(0, 2**16), share=st.floats(0.2, 1))
@settings(max_examples=10, deadline=None)
def test_more_rows_or_a_larger_part_of_them_never_make_fewer_lists(seed: int, share: float) -> None:
    made, selector = model(0), random_of(model(0), share, seed)
    depths = [made.known.reach(made.query, count, selector).list_count for count in (1, 10, 100, 1000)]
    assert depths == sorted(depths)
    of_coverages = [
        model(0, coverage=coverage).known.reach(made.query, 50, selector).list_count for coverage in (0.5, 0.9, 0.99)
    ]
    assert of_coverages == sorted(of_coverages)
    assert of_coverages[0] < of_coverages[-1]


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.094])
@pytest.mark.parametrize("count", [1, 30, 300])
def test_half_as_many_rows_again_as_are_wanted_are_looked_at_at_least(spread: float, count: int) -> None:
    known = lists(spread=spread, coverage=0.01)
    # Few enough to be counted.
    selector = RowSet.of_rows(np.random.default_rng(3).choice(ITEM_COUNT, ITEM_COUNT // 32, replace=False), ITEM_COUNT)
    for query in QUERIES[:10]:
        reach = known.reach(query, count, selector)
        assert len(known.listed(reach, selector.rows)) >= min(LEAST_ROWS * count, len(selector))


@pytest.mark.parametrize("allowed_count", [1, 44, 45])
def test_so_few_rows_that_all_would_be_looked_at_are_scanned(allowed_count: int) -> None:
    for costs in ({"code": 1e-6}, {"listed": 1e-6}):
        reach = lists(costs_ns=costs).reach(QUERIES[0], 30, RowSet.of_rows(np.arange(allowed_count) * 7, ITEM_COUNT))
        assert (reach.way, reach.list_count, reach.near.tolist()) == (Way.SCAN, LIST_COUNT, [True] * LIST_COUNT)


@pytest.mark.parametrize("share", [0.02, 0.4])
@pytest.mark.parametrize(
    ("costs", "way"),
    [
        ({"code": 1e-3, "listed": 1e3, "exact": 1e3}, Way.PROBE),
        ({"code": 1e6, "listed": 1e-3, "exact": 1e3}, Way.LIST),
        ({"code": 1e6, "listed": 1e3, "exact": 1e-3}, Way.SCAN),
    ],
)
def test_the_way_follows_the_costs_and_the_lists_do_not(costs: dict[str, float], way: Way, share: float) -> None:
    selector = RowSet.of_mask(np.random.default_rng(1).random(ITEM_COUNT) < share)
    for query in QUERIES[:10]:
        reach, other = lists(costs_ns=costs).reach(query, 30, selector), lists().reach(query, 30, selector)
        assert reach.way is way
        assert np.array_equal(reach.near, other.near)


@pytest.mark.parametrize(("share", "extraction_ns"), [(0.02, 0.0), (0.5, 1.0)])
def test_what_costs_least_is_done_up_to_where_the_costs_are_equal(share: float, extraction_ns: float) -> None:
    """Sixteen rows of each list are all looked at, so that the rows of the lists looked at are known exactly."""
    made = model(7, list_count=200, size=16)
    item_count = len(made.keys)
    # A spread selector must be large, or all lists would be near; the smallest still counts as few rows.
    selector = RowSet.of_rows(np.random.default_rng(5).choice(item_count, round(share * item_count), False), item_count)
    reach = made.known.reach(made.query, 10, selector)
    near_allowed = int(reach.near[made.row_of_lists[selector.rows]].sum())
    probed = int(reach.near[made.row_of_lists].sum())
    extraction = extraction_ns * item_count
    listing = extraction + 2.0 * len(selector) + 5.0 * near_allowed
    scanning = extraction + 5.0 * len(selector)
    for factor, probing in ((0.999, True), (1.001, False)):
        code = factor * min(listing, scanning) / probed
        found = model(7, list_count=200, size=16, costs_ns={"code": code, "listed": 2.0, "exact": 5.0}).known.reach(
            made.query, 10, selector
        )
        assert (found.way is Way.PROBE) == probing
    for factor, way in ((0.999, Way.LIST), (1.001, Way.SCAN)):
        listed = factor * 5.0 * (len(selector) - near_allowed) / len(selector)
        found = model(7, list_count=200, size=16, costs_ns={"code": 1e9, "listed": listed, "exact": 5.0}).known.reach(
            made.query, 10, selector
        )
        assert found.way is way


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_depths_are_about_the_same_where_rows_are_estimated_as_where_they_are_counted(share: float) -> None:
    """Lists of a hundred rows, of which sixteen are looked at."""
    ratios = []
    for seed in range(12):
        made = model(seed, size=100)
        selector = random_of(made, share, seed)
        exact = threshold_of(made.centres.tolist(), made.counts(selector), 0.1, 200)
        at = edge(made.centres.tolist(), made.counts(selector), exact, 0.1, 0.98, LEAST_ROWS * 200)
        ratios.append(made.known.reach(made.query, 200, selector).list_count / int((made.centres >= at).sum()))
    assert 0.9 < np.mean(ratios) < 1.2
    assert np.min(ratios) > 0.5
    assert np.max(ratios) < 2


@pytest.mark.parametrize("share", [0.01, 0.02, 0.2])
def test_a_selector_is_reckoned_alike_whatever_was_asked_of_it_before(share: float) -> None:
    """Else shards, one of which has met a filter before, would look at different lists."""
    known, random = lists(), np.random.default_rng(9)
    for query in QUERIES:
        mask = random.random(ITEM_COUNT) < share
        fresh, asked = RowSet.of_mask(mask), RowSet.of_mask(mask)
        _ = asked.rows
        given_rows = RowSet.of_ascending(np.flatnonzero(mask).astype(np.uint32), ITEM_COUNT)
        first, *others = [known.reach(query, 15, one) for one in (fresh, asked, given_rows)]
        for other in others:
            assert other.way is first.way
            assert np.array_equal(other.near, first.near)


@given(seed=st.integers(0, 2**16), row_share=st.floats(0, 1), near_share=st.floats(0, 1))
def test_exactly_the_rows_of_near_lists_are_kept_in_their_order(seed: int, row_share: float, near_share: float) -> None:
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(random.random(ITEM_COUNT) < row_share).astype(np.uint32)
    near = random.random(LIST_COUNT) < near_share
    kept = lists().listed(Reach(Way.LIST, int(near.sum()), near), rows)
    wanted = set(np.flatnonzero(near).tolist())
    assert kept.dtype == np.uint32
    assert kept.tolist() == [
        row for row, its in zip(rows.tolist(), row_lists()[rows].tolist(), strict=True) if its in wanted
    ]


@pytest.mark.parametrize("length", [1e-3, 40.0])
def test_a_vectors_length_does_not_matter(length: float) -> None:
    known, selector = lists(), RowSet.of_mask(np.random.default_rng(3).random(ITEM_COUNT) < 0.3)
    for query in QUERIES[:10]:
        near = known.reach(query, 30, selector).near
        longer = known.reach((query * np.float32(length)).astype(np.float32), 30, selector).near
        # A centre at a bin's edge may fall to either side.
        assert np.count_nonzero(near != longer) <= 2


def test_a_vector_of_zeros_has_an_answer() -> None:
    """All centres are equally near, so nothing is left out."""
    selector = RowSet.of_mask(np.random.default_rng(3).random(ITEM_COUNT) < 0.3)
    assert lists().reach(np.zeros_like(QUERIES[0]), 30, selector).near.all()


def test_what_is_prepared_changes_nothing() -> None:
    prepared, selector = lists(), RowSet.of_mask(np.random.default_rng(3).random(ITEM_COUNT) < 0.3)
    prepared.prepare()
    for query in QUERIES[:5]:
        assert np.array_equal(prepared.reach(query, 30, selector).near, lists().reach(query, 30, selector).near)


def test_empty_lists_bring_nothing() -> None:
    """The same rows, and as many lists again without any, the nearest of all."""
    made = model(1)
    nearest = np.tile(made.query, (len(made.centres), 1))
    centroids = np.concatenate([made.known.centroids, nearest])
    entry = ENTRY.model_copy(update={"spread": 0.1, "coverage": 0.98})
    with_empty = CoarseLists(centroids, made.row_of_lists.astype(np.uint16), entry)
    for share in (0.03, 0.5):
        selector = random_of(made, share)
        expected = made.known.reach(made.query, 100, selector).near
        assert np.array_equal(with_empty.reach(made.query, 100, selector).near[: len(expected)], expected)


def test_lists_of_a_catalogue_with_many_are_read_from_16_bits_and_from_32() -> None:
    narrow = lists()
    entry = ENTRY.model_copy(update=measured())
    wide = CoarseLists(narrow.centroids, row_lists().astype(np.uint32), entry)
    selector = RowSet.of_mask(np.random.default_rng(3).random(ITEM_COUNT) < 0.3)
    for query in QUERIES[:5]:
        reach, other = narrow.reach(query, 120, selector), wide.reach(query, 120, selector)
        assert np.array_equal(reach.near, other.near)
        assert np.array_equal(narrow.listed(reach, selector.rows), wide.listed(other, selector.rows))
