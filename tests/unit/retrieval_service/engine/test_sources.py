from __future__ import annotations

import numpy as np
import pytest

from retrieval_service.engine import sources
from retrieval_service.engine.catalogue import Catalogue
from retrieval_service.engine.engine import RetrievalEngine
from tests.bundles import TinyCatalogue, make_orders
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source


@pytest.fixture(scope="module")
def catalogue(rich_engine: RetrievalEngine) -> Catalogue:
    return rich_engine.catalogue


def orders(items: TinyCatalogue) -> dict[Source, list[int]]:
    made = make_orders(items)
    return {
        Source.POPULAR: sorted(range(len(items.item_ids)), key=lambda row: (-items.popularity[row], row)),
        Source.TRENDING: made.trending.tolist(),
        Source.NEW: made.arrivals.tolist(),
        Source.REPRESENTATIVES: made.representatives.tolist(),
    }


WALKED = [Source.POPULAR, Source.TRENDING, Source.NEW, Source.REPRESENTATIVES]


@pytest.mark.parametrize("source", WALKED)
def test_a_source_brings_its_order(catalogue: Catalogue, items: TinyCatalogue, source: Source) -> None:
    for count in (1, 30, 500):
        assert sources.rows_of(source, catalogue, count, None).tolist() == orders(items)[source][:count]


@pytest.mark.parametrize("source", WALKED)
@pytest.mark.parametrize("count", [1, 7, 200, 500])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.9])
def test_a_source_skips_what_the_selector_leaves_out(
    catalogue: Catalogue, items: TinyCatalogue, source: Source, count: int, share: float
) -> None:
    mask = np.random.default_rng(count).random(200) < share
    expected = [row for row in orders(items)[source] if mask[row]][:count]
    assert sources.rows_of(source, catalogue, count, RowSet.of_mask(mask)).tolist() == expected


def test_included_keeps_the_order_and_drops_repeats_and_what_may_not() -> None:
    rows = np.array([9, 4, 9, 7, 1], np.uint32)
    assert sources.included(rows, RowSet.all_rows(200).without(np.array([7]))).tolist() == [9, 4, 1]
    assert sources.included(rows, None).tolist() == [9, 4, 7, 1]
