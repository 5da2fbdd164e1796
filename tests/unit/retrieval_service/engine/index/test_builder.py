from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.index.builder import EXACT_LIMIT, BuiltIndex, IndexAim, build_index, write_index
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.families import index_specs, list_count
from tests.unit.retrieval_service.engine.index.small_index import DIMENSION, QUERIES, VECTORS, nearest
from twostage.bundle.row_set import RowSet

MEASURED_WITH, HELD_OUT = QUERIES[::2], QUERIES[1::2]
SOME = VECTORS[:600]


@pytest.fixture(scope="module", params=[1, 2])
def built(request: pytest.FixtureRequest) -> BuiltIndex:
    aim = IndexAim(at=50, recall_target=0.9, exact_limit=0, shard_count=request.param)
    return build_index(VECTORS, MEASURED_WITH, aim, folder="retrieval/content")


def test_a_small_catalogue_gets_an_exact_index() -> None:
    built = build_index(SOME, QUERIES)
    assert len(SOME) <= EXACT_LIMIT
    assert isinstance(built.parts[0], faiss.IndexFlat)
    assert built.row_lists is None
    entry = built.entry
    assert (entry.family, entry.recall, entry.recall_at, entry.probe_count) == ("exact", 1.0, 500, None)
    assert (entry.file, entry.files, entry.row_lists) == ("index.faiss", [], None)


def test_the_limit_itself_is_exact_and_one_above_is_not() -> None:
    assert build_index(SOME, QUERIES, IndexAim(at=20, exact_limit=600)).entry.family == "exact"
    assert build_index(SOME, QUERIES, IndexAim(at=20, exact_limit=599, families=("ivf_fp16",))).entry.family == "ivf"


def test_no_more_than_all_items_are_asked_for() -> None:
    assert build_index(SOME[:100], QUERIES).entry.recall_at == 100


def test_held_out_queries_reach_the_recall(built: BuiltIndex, tmp_path: Path) -> None:
    write_index(built, tmp_path)
    index = FaissIndex.open(tmp_path, built.entry, VECTORS)
    found = [np.isin(nearest(query, 50), index.search(query, 50, None)[0]).mean() for query in HELD_OUT]
    assert np.mean(found) >= 0.88
    for share in (0.5, 0.1):
        selector = RowSet.of_mask(np.random.default_rng(8).random(len(VECTORS)) < share)
        found = [
            np.isin(nearest(query, 50, selector), index.search(query, 50, selector)[0]).mean() for query in HELD_OUT
        ]
        assert np.mean(found) >= 0.88


def test_what_was_measured_stands_in_the_entry(built: BuiltIndex) -> None:
    entry = built.entry
    (chosen,) = [one for one in entry.frontier if one.chosen]
    assert (chosen.family, chosen.factory, chosen.probe_count, chosen.pool_factor) == (
        entry.family,
        entry.factory,
        entry.probe_count,
        entry.pool_factor,
    )
    assert chosen.recall == pytest.approx(entry.recall, abs=1e-5)
    assert entry.recall is not None
    assert entry.recall_target == 0.9
    assert entry.recall >= 0.9
    assert {one.family for one in entry.frontier} == {"ivf", "ivf_pq"}
    assert entry.recall_at == 50
    assert set(entry.costs_ns) == {"code", "listed", "exact"}
    assert all(cost > 0 for cost in entry.costs_ns.values())
    assert entry.factory.startswith(f"IVF{list_count(len(VECTORS))},")


KINDS = {"random 0.5", "random 0.1", "all but the own group", "half of the other groups", "one other group"}
DEEPEST = 0.998


def test_filters_of_every_kind_were_measured_and_reach_the_recall(built: BuiltIndex) -> None:
    entry = built.entry
    # A hundredth of 6000 rows is less than twice the 50 asked for.
    assert {one.kind for one in entry.filtered} == KINDS
    assert entry.spread is not None
    assert 0.02 < entry.spread < 0.3
    assert entry.coverage is not None
    assert 0.9 <= entry.coverage <= DEEPEST
    assert all(one.recall >= 0.9 for one in entry.filtered) or entry.coverage == DEEPEST
    assert all(0 < one.selectivity < 1 and one.median_ms > 0 for one in entry.filtered)


def test_an_exact_index_has_no_lists_to_be_measured() -> None:
    entry = build_index(SOME, QUERIES, IndexAim(at=20)).entry
    assert (entry.spread, entry.coverage, entry.filtered, entry.costs_ns) == (None, None, [], {})


def test_up_to_63_items_are_exact_whatever_is_wanted() -> None:
    for families in (("ivf_pq1",), ("ivf_fp16", "ivf_pq1"), ("hnsw",)):
        aim = IndexAim(at=20, exact_limit=0, families=families)
        assert build_index(SOME[:63], QUERIES, aim).entry.family == "exact"
        assert build_index(SOME[:1], QUERIES, aim).entry.family == "exact"
    assert build_index(SOME[:64], QUERIES, IndexAim(at=20, exact_limit=0)).entry.family != "exact"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "ivf_pq1", "ivf_pq2", "rabitq", "hnsw"])
def test_a_row_whose_vector_is_not_finite_is_named(name: str, number: float) -> None:
    vectors = SOME.copy()
    vectors[[77, 300], 3] = number
    with pytest.raises(ValueError, match=r"vectors: expected finite numbers, received NaN or infinity at row 77$"):
        build_index(vectors, QUERIES, IndexAim(at=20, exact_limit=0, families=(name,)))


def test_an_odd_dimension_has_every_family_but_codes_of_two_dimensions() -> None:
    vectors, queries = np.ascontiguousarray(SOME[:200, :31]), np.ascontiguousarray(QUERIES[:8, :31])
    for name in index_specs(31):
        aim = IndexAim(at=20, exact_limit=0, families=(name,))
        if name == "ivf_pq2":
            with pytest.raises(ValueError, match=r"families: expected ivf_pq2 with an even .*received dimension 31"):
                build_index(vectors, queries, aim)
        else:
            assert build_index(vectors, queries, aim).entry.family == index_specs(31)[name].family


def test_files_lie_where_the_entry_says(built: BuiltIndex, tmp_path: Path) -> None:
    write_index(built, tmp_path)
    entry, shard_count = built.entry, len(built.parts)
    names = ["index.faiss"] if shard_count == 1 else ["index-0.faiss", "index-1.faiss"]
    assert entry.shard_files == [f"retrieval/content/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "retrieval/content").iterdir()) == [*names, "row_lists.npy"]
    assert entry.row_lists == "retrieval/content/row_lists.npy"


def test_row_lists_are_those_of_the_shards(built: BuiltIndex) -> None:
    assert built.row_lists is not None
    assert built.row_lists.dtype == np.uint16
    for part in built.parts:
        for number in range(0, part.nlist, 9):
            if size := part.invlists.list_size(number):
                assert (built.row_lists[faiss.rev_swig_ptr(part.invlists.get_ids(number), size)] == number).all()


def test_a_bound_on_memory_leaves_smaller_families() -> None:
    families = ("ivf_fp16", "ivf_sq8", "rabitq")
    aim = IndexAim(at=20, exact_limit=0, families=families, bytes_per_item=2 * DIMENSION + 8)
    assert {one.factory.split(",")[1] for one in build_index(SOME, QUERIES[:8], aim).entry.frontier} == {
        "SQfp16",
        "SQ8",
        "RaBitQfs",
    }
    aim = IndexAim(at=20, exact_limit=0, families=families, bytes_per_item=2 * DIMENSION + 7)
    entry = build_index(SOME, QUERIES[:8], aim).entry
    assert {one.factory.split(",")[1] for one in entry.frontier} == {"SQ8", "RaBitQfs"}
    assert entry.bytes_per_item is not None
    assert entry.bytes_per_item <= 2 * DIMENSION + 7


def test_a_target_that_nothing_reaches_gets_the_best_recall() -> None:
    """One bit for each dimension does not tell vectors apart that lie anywhere."""
    vectors = np.random.default_rng(2).normal(size=(2000, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    aim = IndexAim(at=10, exact_limit=0, families=("rabitq",), recall_target=1.0)
    entry = build_index(vectors, QUERIES[:8], aim).entry
    assert entry.recall is not None
    assert entry.recall < 1.0
    assert entry.recall == pytest.approx(max(one.recall for one in entry.frontier), abs=1e-5)


WITH_NAN = QUERIES.copy()
WITH_NAN[3, 5] = np.nan
WITH_INFINITY = QUERIES.copy()
WITH_INFINITY[3, 5] = np.inf


@pytest.mark.parametrize(
    ("vectors", "queries", "changes", "named"),
    [
        (SOME[:0], QUERIES, {}, "vectors: expected"),
        (SOME[0], QUERIES, {}, "vectors: expected"),
        (SOME, QUERIES[:0], {}, "queries: expected"),
        (SOME, QUERIES[:, :4], {}, r"queries: expected float32\[Q, 32\].*\(40, 4\)"),
        (SOME, QUERIES[0], {}, "queries: expected"),
        (SOME, WITH_NAN, {}, "queries: expected finite"),
        (SOME, WITH_INFINITY, {}, "queries: expected finite"),
        (SOME, QUERIES, {"recall_target": 0.0}, "recall_target: expected"),
        (SOME, QUERIES, {"recall_target": 1.01}, "recall_target: expected"),
        (SOME, QUERIES, {"recall_target": float("nan")}, "recall_target: expected"),
        (SOME, QUERIES, {"at": 0}, "at: expected"),
        (SOME, QUERIES, {"shard_count": 0}, "shard_count: expected 1 to 9"),
        (SOME, QUERIES, {"shard_count": 10}, "shard_count: expected 1 to 9, received 10"),
        (SOME[:63], QUERIES, {"shard_count": 2}, "shard_count: expected 1 to 1"),
        (SOME, QUERIES, {"families": ()}, "families: expected .*received none"),
        (SOME, QUERIES, {"families": ("ivf_fp16", "annoy")}, "families: expected .*received annoy"),
        (SOME, QUERIES, {"families": ("hnsw",), "shard_count": 2, "exact_limit": 0}, "shard_count: expected 1 with"),
        (
            SOME,
            QUERIES,
            {"families": ("rabitq4",), "shard_count": 2, "exact_limit": 0},
            "1 with rabitq4, whose.*received 2",
        ),
        (
            SOME,
            QUERIES,
            {"families": ("ivf_fp16", "hnsw", "rabitq4"), "shard_count": 3, "exact_limit": 0},
            "shard_count: expected 1 with hnsw, rabitq4, .*received 3",
        ),
        (SOME, QUERIES, {"bytes_per_item": 100}, "bytes_per_item: expected at least 128 for Flat, received 100"),
        (SOME, QUERIES, {"bytes_per_item": 23, "exact_limit": 0}, "bytes_per_item: expected at least 24 for PQ32x4fsr"),
    ],
)
def test_bad_arguments_are_named(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        build_index(vectors, queries, IndexAim(**changes))


def test_as_many_shards_as_there_are_words_hold_a_row_each_at_least() -> None:
    built = build_index(SOME, QUERIES, IndexAim(at=20, shard_count=9))
    assert [part.ntotal for part in built.parts] == [64] * 8 + [88]


@pytest.mark.parametrize("name", list(index_specs(DIMENSION)))
def test_the_bytes_of_a_family_are_those_that_its_file_grows_by(name: str, tmp_path: Path) -> None:
    spec = index_specs(DIMENSION)[name]
    inverted = spec.family not in ("exact", "hnsw")
    index: Any = faiss.index_factory(
        DIMENSION, f"IVF1,{spec.factory}" if inverted else spec.factory, faiss.METRIC_INNER_PRODUCT
    )
    index.train(VECTORS[:700])
    sizes = []
    for start in (0, 640):
        index.add(VECTORS[start : start + 640])
        faiss.write_index(index, str(tmp_path / "index.faiss"))
        sizes.append((tmp_path / "index.faiss").stat().st_size)
    assert (sizes[1] - sizes[0]) / 640 == pytest.approx(spec.code_bytes, rel=0.06)
