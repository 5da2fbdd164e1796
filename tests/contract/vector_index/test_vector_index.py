"""What every index must do; each is opened by `indexes.INDEXES`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.index.vector_index import VectorIndex
from tests.contract.vector_index.catalogues import Trial, brute_force, clustered, tied
from tests.contract.vector_index.indexes import INDEXES
from twostage.bundle.row_set import RowSet

# The share of the rows that a selector leaves; 2e-4 and 0 leave one row and none.
SHARES = [1.0, 0.97, 0.5, 0.1, 0.01, 2e-4, 0.0]
COUNTS = [1, 10, 100]


@dataclass(frozen=True)
class Case:
    index: VectorIndex
    trial: Trial
    is_exact: bool


def _open(request: pytest.FixtureRequest, factory: pytest.TempPathFactory, trial: Trial) -> Iterator[Case]:
    implementation = INDEXES[request.param]
    with implementation.open(factory.mktemp(request.param), trial) as index:
        yield Case(index, trial, implementation.is_exact)


@pytest.fixture(scope="module", params=list(INDEXES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield from _open(request, tmp_path_factory, clustered())


@pytest.fixture(scope="module", params=list(INDEXES))
def ties(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield from _open(request, tmp_path_factory, tied())


def chosen(item_count: int, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """bool[N], exactly the given share of the rows, anywhere."""
    mask = np.zeros(item_count, np.bool_)
    mask[np.random.default_rng(seed).permutation(item_count)[: round(share * item_count)]] = True
    return mask


def recall(products: NDArray[np.float64], mask: NDArray[np.bool_], rows: NDArray[np.uint32]) -> float:
    """The share of the nearest allowed rows that were found; rows as near as the last of them count as well."""
    last = np.sort(products[mask])[-len(rows)]
    return float(np.mean(products[rows] >= last - 1e-6))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", COUNTS)
def test_exactly_as_many_rows_as_asked_for_or_allowed_and_none_outside_the_selector(
    case: Case, share: float, count: int
) -> None:
    vectors = case.trial.vectors
    for number, query in enumerate(case.trial.queries[:4]):
        mask = chosen(len(vectors), share, number)
        rows, scores = case.index.search(query, count, RowSet.of_mask(mask))
        assert len(rows) == len(scores) == min(count, int(mask.sum()))
        assert rows.dtype == np.uint32
        assert scores.dtype == np.float32
        assert len(np.unique(rows)) == len(rows)
        assert mask[rows].all()


@pytest.mark.parametrize("share", [None, *SHARES[:-1]])
def test_scores_are_inner_products_best_first_and_ties_by_row(case: Case, share: float | None) -> None:
    vectors = case.trial.vectors
    for query in case.trial.queries[:4]:
        selector = None if share is None else RowSet.of_mask(chosen(len(vectors), share))
        rows, scores = case.index.search(query, 60, selector)
        np.testing.assert_allclose(scores, brute_force(vectors, query)[rows], atol=1e-5)
        assert np.lexsort((rows, -scores)).tolist() == list(range(len(rows)))


@pytest.mark.parametrize("share", [None, *SHARES[:-1]])
def test_the_nearest_are_found(case: Case, share: float | None) -> None:
    vectors, count = case.trial.vectors, 50
    found = []
    for number, query in enumerate(case.trial.queries):
        mask = chosen(len(vectors), 1.0 if share is None else share, number)
        rows, _ = case.index.search(query, count, None if share is None else RowSet.of_mask(mask))
        found.append(recall(brute_force(vectors, query), mask, rows))
    assert np.mean(found) >= (1.0 if case.is_exact else 0.9)


def test_the_very_nearest_can_be_excluded(case: Case) -> None:
    vectors = case.trial.vectors
    for excluded_count in (1, 30, 300, 1000):
        for query in case.trial.queries[:3]:
            products = brute_force(vectors, query)
            selector = RowSet.all_rows(len(vectors)).without(np.argsort(-products)[:excluded_count])
            rows, _ = case.index.search(query, 40, selector)
            assert len(rows) == 40
            assert selector.has(rows).all()


def test_a_selector_that_leaves_only_the_farthest_still_gets_its_count(case: Case) -> None:
    vectors = case.trial.vectors
    for query in case.trial.queries[:3]:
        far = np.argsort(brute_force(vectors, query))[: len(vectors) // 3]
        rows, _ = case.index.search(query, 40, RowSet.of_rows(far, len(vectors)))
        assert len(rows) == 40
        assert np.isin(rows, far).all()


@pytest.mark.parametrize("with_selector", [False, True])
def test_a_count_above_the_catalogue_finds_all_of_it(case: Case, with_selector: bool) -> None:
    vectors = case.trial.vectors
    mask = chosen(len(vectors), 0.8 if with_selector else 1.0)
    for count in (len(vectors), len(vectors) + 1, 20_000):
        rows, _ = case.index.search(case.trial.queries[0], count, RowSet.of_mask(mask) if with_selector else None)
        assert np.sort(rows).tolist() == np.flatnonzero(mask).tolist()


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_equal_scores_come_in_the_order_of_rows(ties: Case, share: float) -> None:
    vectors = ties.trial.vectors
    allowed = np.flatnonzero(chosen(len(vectors), share))
    for query in ties.trial.queries:
        products = brute_force(vectors, query)[allowed]
        expected = allowed[np.lexsort((allowed, -products))]
        assert len(np.unique(products)) < len(products)
        rows, _ = ties.index.search(query, len(allowed), RowSet.of_rows(allowed, len(vectors)))
        assert rows.tolist() == expected.tolist()
        rows, scores = ties.index.search(query, 100, RowSet.of_rows(allowed, len(vectors)))
        assert np.lexsort((rows, -scores)).tolist() == list(range(100))


def test_repeated_searches_and_searches_of_several_threads_agree(case: Case) -> None:
    vectors, queries = case.trial.vectors, case.trial.queries[:6]
    selectors = [None, *(RowSet.of_mask(chosen(len(vectors), share)) for share in (0.97, 0.5, 0.1, 0.01))]
    asked = [(query, selector) for query in queries for selector in selectors]

    def answer(one: tuple[NDArray[np.float32], RowSet | None]) -> tuple[list[int], list[float]]:
        rows, scores = case.index.search(one[0], 30, one[1])
        return rows.tolist(), scores.tolist()

    alone = [answer(one) for one in asked]
    assert [answer(one) for one in asked[:10]] == alone[:10]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(answer, [*asked, *asked[::-1]])) == alone + alone[::-1]
