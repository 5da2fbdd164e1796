from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.index_builder import build_index, write_index
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

DIMENSION = 12
EXACT = IndexEntry(family="exact", factory="Flat", file="index.faiss")


def unit_vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, DIMENSION))
    vectors = centres[generator.integers(0, 20, count)] + 0.5 * generator.normal(size=(count, DIMENSION))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


VECTORS = unit_vectors(1500)
QUERIES = unit_vectors(64, seed=1)


@pytest.fixture(scope="module", params=["exact", "ivf"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FaissIndex:
    limit = 10_000 if request.param == "exact" else 0
    built, entry = build_index(VECTORS, QUERIES, at=50, exact_limit=limit)
    assert entry.family == request.param
    path = tmp_path_factory.mktemp("index") / entry.file
    write_index(built, path)
    return FaissIndex.open(path, entry, VECTORS)


@settings(max_examples=60, deadline=None)
@given(
    query=st.integers(0, len(QUERIES) - 1),
    count=st.integers(1, 1600),
    excluded_share=st.sampled_from([0.0, 0.01, 0.5, 0.97, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_finds_exactly_as_many_as_the_selector_allows_with_their_inner_products(
    index: FaissIndex, query: int, count: int, excluded_share: float, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(len(VECTORS)) >= excluded_share
    rows, scores = index.search(QUERIES[query], count, RowSet.of_mask(mask))
    assert len(rows) == min(count, int(mask.sum()))
    assert len(set(rows.tolist())) == len(rows)
    assert mask[rows].all()
    np.testing.assert_allclose(scores, (VECTORS.astype(np.float64) @ QUERIES[query])[rows], atol=1e-5)
    assert (np.diff(scores) <= 0).all()


def test_exact_answers_are_those_of_numpy(tmp_path: Path) -> None:
    built, entry = build_index(VECTORS, QUERIES)
    write_index(built, tmp_path / "index.faiss")
    index = FaissIndex.open(tmp_path / "index.faiss", entry, VECTORS)
    mask = np.arange(len(VECTORS)) % 3 > 0
    for query in QUERIES[:20]:
        scores = np.where(mask, VECTORS.astype(np.float64) @ query, -np.inf)
        expected = np.argsort(-scores)[:100]
        rows, _ = index.search(query, 100, RowSet.of_mask(mask))
        assert set(rows.tolist()) == set(expected.tolist())
        np.testing.assert_allclose(scores[rows], scores[expected], atol=1e-6)


def test_equal_scores_are_in_the_order_of_rows(tmp_path: Path) -> None:
    vectors = np.repeat(unit_vectors(3), 5, axis=0)
    built, entry = build_index(vectors, QUERIES)
    write_index(built, tmp_path / "index.faiss")
    rows, scores = FaissIndex.open(tmp_path / "index.faiss", entry, vectors).search(vectors[7], 15, None)
    groups = [rows[scores == score].tolist() for score in dict.fromkeys(scores.tolist())]
    assert all(group == sorted(group) for group in groups)
    assert rows[:5].tolist() == [5, 6, 7, 8, 9]


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> FaissIndex:
    """An inverted file that is probed just deep enough for the nearest ten."""
    built, entry = build_index(VECTORS, QUERIES, at=10, recall_target=0.9, exact_limit=0)
    assert entry.probe_count is not None
    assert entry.probe_count < built.nlist / 20
    path = tmp_path_factory.mktemp("shallow") / entry.file
    write_index(built, path)
    return FaissIndex.open(path, entry, VECTORS)


@pytest.mark.parametrize(("allowed_share", "count"), [(0.1, 10), (0.3, 10), (1.0, 30), (1.0, 50)])
def test_asking_for_more_or_allowing_less_keeps_the_recall(
    shallow: FaissIndex, allowed_share: float, count: int
) -> None:
    mask = np.random.default_rng(3).random(len(VECTORS)) < allowed_share
    hits = 0
    for query in QUERIES:
        expected = np.argsort(-np.where(mask, VECTORS @ query, -np.inf))[:count]
        hits += len(np.intersect1d(expected, shallow.search(query, count, RowSet.of_mask(mask))[0]))
    assert hits / (count * len(QUERIES)) >= 0.93


def test_a_selector_that_leaves_only_far_rows_still_gets_its_count(shallow: FaissIndex) -> None:
    for query in QUERIES[:20]:
        scores = VECTORS @ query
        mask = scores < np.median(scores)
        rows, _ = shallow.search(query, 10, RowSet.of_mask(mask))
        assert len(rows) == 10
        assert mask[rows].all()


def test_count_0_and_an_empty_selector_find_nothing(index: FaissIndex) -> None:
    assert len(index.search(QUERIES[0], 0, None)[0]) == 0
    assert len(index.search(QUERIES[0], 5, RowSet.of_mask(np.zeros(len(VECTORS), np.bool_)))[0]) == 0


def test_an_index_that_ignores_selectors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss.write_index(faiss.IndexFlatIP(DIMENSION), str(tmp_path / "index.faiss"))
    ignoring: Any = faiss.IndexFlatIP(DIMENSION)
    ignoring.add(VECTORS)
    search = ignoring.search
    monkeypatch.setattr(ignoring, "search", lambda x, k, **_: search(x, k))
    monkeypatch.setattr(faiss, "read_index", lambda *_: ignoring)
    with pytest.raises(BundleCorrupt, match="excludes what a selector excludes"):
        FaissIndex.open(tmp_path / "index.faiss", EXACT, VECTORS)


def flat(dimension: int = DIMENSION, count: int = len(VECTORS), metric: int = faiss.METRIC_INNER_PRODUCT) -> Any:
    index = faiss.IndexFlat(dimension, metric)
    index.add(np.ones((count, dimension), np.float32))
    return index


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        (flat(dimension=8), f"expected {DIMENSION} dimensions, found 8"),
        (flat(count=7), "expected 1500 vectors, found 7"),
        (flat(metric=faiss.METRIC_L2), "expected the inner product as metric"),
        (faiss.IndexHNSWFlat(DIMENSION, 8), "expected an index of family exact, found IndexHNSWFlat"),
    ],
)
def test_an_index_that_does_not_fit_the_manifest_is_refused(tmp_path: Path, index: Any, complaint: str) -> None:
    path = tmp_path / "index.faiss"
    faiss.write_index(index, str(path))
    with pytest.raises(BundleCorrupt, match=complaint):
        FaissIndex.open(path, EXACT, VECTORS)


@pytest.mark.parametrize("content", [b"", b"no index at all", b"IxFI"])
def test_a_file_that_is_no_index_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.faiss"
    path.write_bytes(content)
    with pytest.raises(BundleCorrupt, match="expected an index that faiss reads") as caught:
        FaissIndex.open(path, EXACT, VECTORS)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    faiss.write_index(flat(), str(path))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BundleCorrupt, match="expected an index that faiss reads"):
        FaissIndex.open(path, EXACT, VECTORS)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleCorrupt, match="no file"):
        FaissIndex.open(tmp_path / "index.faiss", EXACT, VECTORS)
