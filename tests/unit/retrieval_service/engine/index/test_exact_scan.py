from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_service.engine.index import exact_scan as module
from retrieval_service.engine.index.exact_scan import exact_scan, inner_products
from tests.unit.retrieval_service.engine.index.small_index import TIED, TIED_QUERIES
from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.row_set import RowSet

VECTORS = np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5], [-1, 0]], np.float32)
VECTOR = np.array([1, 0], np.float32)


def test_ties_are_in_the_order_of_rows() -> None:
    rows, scores = exact_scan(VECTORS, VECTOR, 5, None)
    assert rows.tolist() == [0, 2, 3, 1, 4]
    assert scores.tolist() == [1.0, 1.0, 0.5, 0.0, -1.0]


def test_only_rows_of_the_selector_are_found() -> None:
    rows, _ = exact_scan(VECTORS, VECTOR, 2, RowSet.all_rows(5).without(np.array([0, 3])))
    assert rows.tolist() == [2, 1]


def test_fewer_than_asked_for_when_the_selector_leaves_fewer() -> None:
    rows, scores = exact_scan(VECTORS, VECTOR, 4, RowSet.of_mask(np.zeros(5, np.bool_)))
    assert len(rows) == len(scores) == 0
    assert rows.dtype == np.uint32
    assert scores.dtype == np.float32


@pytest.mark.parametrize("chunk_rows", [1, 10, 51, 52, 102, 103, 104])
def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch, chunk_rows: int) -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(103, 8)).astype(np.float32)
    vector = vectors[5]
    expected = np.argsort(-(vectors.astype(np.float64) @ vector), kind="stable")[:40]
    monkeypatch.setattr(module, "_CHUNK_ROWS", chunk_rows)
    assert exact_scan(vectors, vector, 40, None)[0].tolist() == expected.tolist()


@given(
    item_count=st.integers(1, 300),
    dimension=st.integers(1, 70),
    count=st.integers(1, 320),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_the_nearest_are_those_of_double_precision(
    item_count: int, dimension: int, count: int, share: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(item_count, dimension)).astype(np.float32)
    vector = generator.normal(size=dimension).astype(np.float32)
    mask = generator.random(item_count) < share
    products = vectors.astype(np.float64) @ vector.astype(np.float64)
    rows, scores = exact_scan(vectors, vector, count, RowSet.of_mask(mask))
    assert len(rows) == min(count, mask.sum())
    assert mask[rows].all()
    np.testing.assert_allclose(scores, products[rows], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores, np.sort(products[mask])[::-1][:count], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 7, 60, 999])
def test_of_rows_that_tie_at_the_edge_the_first_are_found(count: int) -> None:
    for query in TIED_QUERIES:
        products = TIED.astype(np.float64) @ query.astype(np.float64)
        expected = np.lexsort((np.arange(len(TIED)), -products))[:count]
        assert exact_scan(TIED, query, count, None)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_rows_may_repeat_and_come_in_any_order(dtype: type[np.integer]) -> None:
    rows = np.array([4, 0, 3, 0], dtype)
    assert inner_products(VECTORS, rows, VECTOR).tolist() == [-1.0, 1.0, 0.5, 1.0]


def test_no_rows_have_no_products() -> None:
    assert inner_products(VECTORS, np.empty(0, np.uint32), VECTOR).shape == (0,)


def test_mapped_vectors_are_read_where_they_lie(tmp_path: Path) -> None:
    write_array(tmp_path / "vectors.npy", VECTORS)
    mapped = map_array(tmp_path / "vectors.npy")
    assert not mapped.flags.writeable
    assert inner_products(mapped, np.arange(5, dtype=np.uint32), VECTOR).tolist() == [1.0, 0.0, 1.0, 0.5, -1.0]


def test_a_user_vector_need_not_lie_in_one_piece() -> None:
    strided = np.array([1, 9, 0, 9], np.float32)[::2]
    found = inner_products(VECTORS, np.arange(5, dtype=np.uint32), strided)
    assert found.tolist() == [1.0, 0.0, 1.0, 0.5, -1.0]
