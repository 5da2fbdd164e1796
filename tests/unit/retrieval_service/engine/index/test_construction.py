from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.index.construction import build_parts, silent, train_lists
from retrieval_service.engine.index.faiss_file import read_row_lists
from retrieval_service.engine.index.families import index_specs
from retrieval_service.engine.index.shard_rows import shard_rows
from tests.unit.retrieval_service.engine.index.small_index import (
    DIMENSION,
    ITEM_COUNT,
    LIST_COUNT,
    QUERIES,
    VECTORS,
    faiss_parts,
    row_lists,
)
from twostage.bundle.arrays import map_array, write_array

SOME = VECTORS[:1000]
INVERTED = ["ivf_fp16", "ivf_pq1", "rabitq4"]


def built(name: str, seed: int, vectors: NDArray[np.float32] = SOME) -> NDArray[np.uint8]:
    spec = index_specs(DIMENSION)[name]
    centres = None if spec.family in ("exact", "hnsw") else train_lists(vectors, 32, seed, silent)
    (index,) = build_parts(spec, vectors, centres, shard_count=1, seed=seed, progress=silent)
    octets: NDArray[np.uint8] = faiss.serialize_index(index)
    return octets


def ids(index: Any) -> NDArray[np.int64]:
    found = [
        faiss.rev_swig_ptr(index.invlists.get_ids(number), index.invlists.list_size(number)).copy()
        for number in range(index.nlist)
        if index.invlists.list_size(number)
    ]
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "ivf_pq1"])
def test_the_same_seed_gives_the_same_index(name: str) -> None:
    assert np.array_equal(built(name, 3), built(name, 3))


def test_another_seed_gives_other_lists() -> None:
    assert not np.array_equal(built("ivf_fp16", 3), built("ivf_fp16", 4))


def test_mapped_vectors_give_the_same_index(tmp_path: Path) -> None:
    write_array(tmp_path / "vectors.npy", SOME)
    assert np.array_equal(built("ivf_fp16", 3), built("ivf_fp16", 3, map_array(tmp_path / "vectors.npy")))


def test_centres_are_of_unit_length_and_as_many_as_asked_for() -> None:
    centres = train_lists(SOME, 32, 0, silent)
    assert centres.shape == (32, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)


def test_clustering_goes_on_where_the_last_iteration_stood() -> None:
    """Each row lies nearer to its centre than rows do to centres that were merely drawn from them."""
    drawn = SOME[np.random.default_rng(0).choice(len(SOME), 32, replace=False)]
    trained = train_lists(SOME, 32, 0, silent)
    assert (SOME @ trained.T).max(axis=1).mean() > (SOME @ drawn.T).max(axis=1).mean() + 0.05


@pytest.mark.parametrize("name", INVERTED)
def test_ids_are_rows_and_shards_hold_each_once(name: str) -> None:
    assert ids(faiss_parts(name)[0]).tolist() == list(range(ITEM_COUNT))
    for number, part in enumerate(faiss_parts(name, 3)):
        assert ids(part).tolist() == list(shard_rows(number, 3, ITEM_COUNT))


def test_shards_of_a_flat_index_hold_their_stretch_in_order() -> None:
    for number, part in enumerate(faiss_parts("exact", 3)):
        rows = shard_rows(number, 3, ITEM_COUNT)
        assert np.array_equal(part.reconstruct_n(0, part.ntotal), VECTORS[rows.start : rows.stop])


@pytest.mark.parametrize("name", INVERTED)
def test_shards_share_centres_and_put_a_row_into_the_nearest_of_them(name: str) -> None:
    whole, *shards = *faiss_parts(name), *faiss_parts(name, 3)
    centres = whole.quantizer.reconstruct_n(0, whole.nlist)
    assert len(centres) == LIST_COUNT
    for shard in shards:
        assert np.array_equal(shard.quantizer.reconstruct_n(0, shard.nlist), centres)
    lists = read_row_lists(shards, ITEM_COUNT)
    assert np.array_equal(lists, row_lists())
    nearness = VECTORS.astype(np.float64) @ centres.T.astype(np.float64)
    np.testing.assert_allclose(nearness[np.arange(ITEM_COUNT), lists], nearness.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("name", INVERTED)
def test_a_rows_code_is_the_same_in_a_shard_as_in_the_whole(name: str) -> None:
    """Told by what the codes' inner products with several vectors are, to the last bit."""
    whole = code_products(faiss_parts(name)[0])
    of_shards = [code_products(part) for part in faiss_parts(name, 3)]
    held = [~np.isnan(products) for products in of_shards]
    assert np.array_equal(np.sum(held, axis=0), np.ones_like(whole))
    for products, here in zip(of_shards, held, strict=True):
        assert np.array_equal(products[here], whole[here])


def code_products(index: Any) -> NDArray[np.float32]:
    """float32[10, N], inner products of queries with the codes of all rows that an index holds, NaN elsewhere."""
    parameters = faiss.SearchParametersIVF(nprobe=index.nlist)  # type: ignore[call-arg]
    keys, rows = index.search(QUERIES[:10], index.ntotal, params=parameters)
    products = np.full((10, ITEM_COUNT), np.nan, np.float32)
    np.put_along_axis(products, rows, keys, axis=1)
    return products


def test_progress_grows_to_the_whole() -> None:
    told: list[tuple[str, float]] = []
    spec = index_specs(DIMENSION)["ivf_fp16"]
    centres = train_lists(SOME, 32, 0, lambda what, part: told.append((what, part)))
    assert {what for what, _ in told} == {"clustering"}
    assert len(told) > 2
    assert [part for _, part in told] == sorted({part for _, part in told})
    assert told[-1][1] == 1.0
    told.clear()
    build_parts(spec, SOME, centres, shard_count=2, seed=0, progress=lambda what, part: told.append((what, part)))
    adding = [part for what, part in told if what == "adding to SQfp16"]
    assert adding == sorted(adding)
    assert adding[-1] == 1.0
