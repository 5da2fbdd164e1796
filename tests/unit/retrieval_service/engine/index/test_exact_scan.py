from __future__ import annotations

import numpy as np
import pytest

from retrieval_service.engine.index import exact_scan as module
from retrieval_service.engine.index.exact_scan import exact_scan
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


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(103, 8)).astype(np.float32)
    vector = vectors[5]
    expected = np.argsort(-(vectors.astype(np.float64) @ vector), kind="stable")[:40]
    monkeypatch.setattr(module, "_CHUNK_ROWS", 10)
    assert exact_scan(vectors, vector, 40, None)[0].tolist() == expected.tolist()
