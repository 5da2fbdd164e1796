from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.index.builder import BuiltIndex, IndexAim, build_index, write_index
from retrieval_service.engine.index.faiss_file import open_part
from retrieval_service.engine.index.faiss_index import FaissIndex
from tests.unit.retrieval_service.engine.index.small_index import (
    CENTRES,
    DIMENSION,
    ENTRIES,
    ITEM_COUNT,
    QUERIES,
    VECTORS,
    faiss_parts,
    nearest,
    row_lists,
)
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

NAMES = ["exact", "ivf_fp16", "ivf_pq1", "rabitq4", "hnsw"]
SHARDED = ["index-0.faiss", "index-1.faiss", "index-2.faiss"]


@dataclass(frozen=True)
class Written:
    folder: Path
    entry: IndexEntry

    def refusal(self, shard: int = 0, **changes: Any) -> str:
        """What is said when it is opened, which is one line."""
        with pytest.raises(BundleCorrupt) as caught:
            open_part(self.folder, self.entry.model_copy(update=changes), VECTORS, shard)
        assert "\n" not in str(caught.value)
        return str(caught.value)


Writing = Callable[[str, int], Written]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Writing:
    made: dict[tuple[str, int], Written] = {}

    def write(name: str, shard_count: int) -> Written:
        if (name, shard_count) not in made:
            folder = tmp_path_factory.mktemp(name)
            changes: dict[str, Any] = {}
            if shard_count > 1:
                changes |= {"file": SHARDED[0], "files": SHARDED[:shard_count]}
            if ENTRIES[name].probe_count:
                changes["row_lists"] = "row_lists.npy"
            entry = ENTRIES[name].model_copy(update=changes)
            write_index(BuiltIndex(faiss_parts(name, shard_count), entry, row_lists()), folder)
            made[name, shard_count] = Written(folder, entry)
        return made[name, shard_count]

    return write


@pytest.fixture
def written(kept: Writing, tmp_path: Path) -> Writing:
    """A copy that may be spoiled."""

    def copy(name: str, shard_count: int = 1) -> Written:
        original = kept(name, shard_count)
        copytree(original.folder, tmp_path / "copy")
        return Written(tmp_path / "copy", original.entry)

    return copy


def replaced(written: Written, index: Any) -> Written:
    faiss.write_index(index, str(written.folder / written.entry.shard_files[0]))
    return written


@pytest.mark.parametrize(("name", "shard_count"), [*((name, 1) for name in NAMES), ("exact", 3), ("ivf_pq1", 3)])
def test_what_was_written_opens_and_finds(kept: Writing, name: str, shard_count: int) -> None:
    original = kept(name, shard_count)
    index = FaissIndex.open(original.folder, original.entry, VECTORS)
    found = [np.isin(nearest(query, 30), index.search(query, 30, None)[0]).mean() for query in QUERIES]
    assert np.mean(found) >= 0.9


def test_bundles_with_one_inverted_file_and_no_row_lists_open(kept: Writing) -> None:
    original = kept("ivf_fp16", 1)
    old = IndexEntry(family="ivf", factory="IVF96,SQfp16", file="index.faiss", probe_count=8, recall_at=30)
    index = FaissIndex.open(original.folder, old, VECTORS)
    now = FaissIndex.open(original.folder, original.entry, VECTORS)
    selector = RowSet.of_mask(np.random.default_rng(4).random(ITEM_COUNT) < 0.1)
    for query in QUERIES[:5]:
        assert index.search(query, 30, selector)[0].tolist() == now.search(query, 30, selector)[0].tolist()


def test_a_missing_file_is_refused(written: Writing) -> None:
    spoiled = written("exact", 1)
    assert "expected an index, found no file" in spoiled.refusal(file="other.faiss")
    assert "expected an index, found no file" in spoiled.refusal(file="")


@pytest.mark.parametrize("content", [b"", b"I", b"IxFI", b"no index at all", bytes(5000), bytes(range(256)) * 20])
def test_a_file_that_is_no_index_is_refused(written: Writing, content: bytes) -> None:
    spoiled = written("exact", 1)
    (spoiled.folder / "index.faiss").write_bytes(content)
    said = spoiled.refusal()
    assert "index.faiss: expected an index that faiss reads, found " in said
    assert "std::" not in said


@pytest.mark.parametrize("part", [0.0002, 0.002, 0.1, 0.5, 0.98, 0.9998])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_cut_short_is_refused(written: Writing, name: str, part: float) -> None:
    spoiled = written(name, 1)
    path = spoiled.folder / "index.faiss"
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert "expected an index that faiss reads, found " in spoiled.refusal()


def flat(dimension: int = DIMENSION, count: int = ITEM_COUNT, metric: int = faiss.METRIC_INNER_PRODUCT) -> Any:
    index = faiss.IndexFlat(dimension, metric)
    index.add(np.ones((count, dimension), np.float32))
    return index


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        (flat(dimension=8), f"expected {DIMENSION} dimensions, found 8"),
        (flat(count=7), f"expected {ITEM_COUNT} vectors, found 7"),
        (flat(count=0), f"expected {ITEM_COUNT} vectors, found 0"),
        (flat(metric=faiss.METRIC_L2), "expected the inner product as metric, found metric 1"),
        (faiss.IndexHNSWFlat(DIMENSION, 8), "expected an index of family exact, found IndexHNSWFlat"),
    ],
)
def test_an_index_that_does_not_fit_the_manifest_is_refused(written: Writing, index: Any, complaint: str) -> None:
    assert complaint in replaced(written("exact", 1), index).refusal()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", ["exact", "ivf", "ivf_pq", "hnsw"])
def test_an_index_of_another_family_is_refused(kept: Writing, name: str, other: str) -> None:
    original = kept(name, 1)
    if original.entry.family != other:
        assert f"expected an index of family {other}, found Index" in original.refusal(family=other)


@pytest.mark.parametrize("name", NAMES)
def test_an_index_of_other_vectors_is_refused(kept: Writing, name: str) -> None:
    """As many vectors of the same shape, of another generation's tower."""
    original = kept(name, 1)
    rotation = np.linalg.qr(np.random.default_rng(6).normal(size=(DIMENSION, DIMENSION)))[0]
    others = np.ascontiguousarray(VECTORS @ rotation, np.float32)
    with pytest.raises(BundleCorrupt, match="or its like found with its own vector, found inner product"):
        open_part(original.folder, original.entry, others, 0)


def test_an_index_of_the_same_vectors_in_another_order_is_refused(kept: Writing) -> None:
    original = kept("exact", 1)
    with pytest.raises(BundleCorrupt, match="or its like found with its own vector"):
        open_part(original.folder, original.entry, np.ascontiguousarray(VECTORS[::-1]), 0)


@pytest.mark.parametrize("noise", [0.05, 0.005])
@pytest.mark.parametrize("name", ["ivf_pq2", "rabitq"])
def test_codes_that_cannot_tell_rows_of_a_tight_cluster_apart_are_no_reason_to_refuse(
    tmp_path: Path, name: str, noise: float
) -> None:
    random = np.random.default_rng(0)
    around = CENTRES[random.integers(0, 40, 4000)] + noise * random.normal(size=(4000, DIMENSION))
    vectors: NDArray[np.float32] = np.asarray(around / np.linalg.norm(around, axis=1, keepdims=True), np.float32)
    built = build_index(vectors, QUERIES[:8], IndexAim(at=50, families=(name,), exact_limit=0))
    write_index(built, tmp_path)
    FaissIndex.open(tmp_path, built.entry, vectors)


@pytest.mark.parametrize("shard", [-1, 3, 400])
def test_a_shard_that_is_not_there_is_refused(kept: Writing, shard: int) -> None:
    assert f"expected a shard from 0 to 2, found {shard}" in kept("exact", 3).refusal(shard)


def test_shards_without_row_lists_are_refused(kept: Writing) -> None:
    assert "expected row_lists in the manifest beside shards, found none" in kept("ivf_fp16", 3).refusal(row_lists=None)


@pytest.mark.parametrize("name", ["exact", "ivf_fp16"])
def test_another_shards_file_is_refused(kept: Writing, name: str) -> None:
    sharded = kept(name, 3)
    # The first two are of one size, so that only what they hold tells them apart.
    assert faiss_parts(name, 3)[0].ntotal == faiss_parts(name, 3)[1].ntotal
    said = sharded.refusal(files=[SHARDED[1], SHARDED[0], SHARDED[2]])
    assert ("expected rows from 0 to 1983, found" if name == "ivf_fp16" else "own vector") in said


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda lists: lists[:-1], f"expected shape ({ITEM_COUNT},), found shape ({ITEM_COUNT - 1},)"),
        (lambda lists: lists[:, np.newaxis], f"expected shape ({ITEM_COUNT},)"),
        (lambda lists: lists.astype(np.int64), "expected uint16 or uint32, found int64"),
        (lambda lists: lists.astype(np.float32), "expected uint16 or uint32, found float32"),
        (lambda lists: lists + np.uint16(1), "expected lists from 0 to 95, found 96"),
        (lambda lists: lists[::-1], "as in index.faiss, found "),
        (np.zeros_like, "as in index.faiss, found 0"),
    ],
)
def test_row_lists_of_another_index_are_refused(written: Writing, change: Callable[[Any], Any], complaint: str) -> None:
    spoiled = written("ivf_fp16", 1)
    np.save(spoiled.folder / "row_lists.npy", change(row_lists()))
    said = spoiled.refusal()
    assert "row_lists.npy: " in said
    assert complaint in said


def test_missing_row_lists_are_refused(written: Writing) -> None:
    spoiled = written("ivf_fp16", 1)
    (spoiled.folder / "row_lists.npy").unlink()
    assert "row_lists.npy: expected an array, found no file" in spoiled.refusal()


def test_an_old_bundle_whose_ids_are_no_rows_is_refused(written: Writing) -> None:
    index = faiss.clone_index(faiss_parts("ivf_fp16")[0])
    index.reset()
    index.add_with_ids(VECTORS, np.arange(ITEM_COUNT) + 7)
    spoiled = replaced(written("ivf_fp16", 1), index)
    assert f"expected rows from 0 to {ITEM_COUNT - 1}, found others" in spoiled.refusal(row_lists=None)
    assert "expected rows from 0 to 5999, found" in spoiled.refusal() or "as in index.faiss" in spoiled.refusal()


def test_an_index_that_does_not_honour_selectors_is_refused(written: Writing, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ignoring(faiss.IndexFlatIP):
        def search(self, x: Any, k: int, *, params: Any = None) -> Any:  # type: ignore[override]  # noqa: ARG002
            return super().search(x, k)

    index = Ignoring(DIMENSION)
    index.add(VECTORS)
    monkeypatch.setattr(faiss, "read_index", lambda *_: index)
    said = written("exact", 1).refusal()
    assert "expected an index that excludes what a selector excludes, found selectors are ignored" in said
