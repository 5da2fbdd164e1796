from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_service.engine.engine import RetrievalEngine, shares_of
from retrieval_service.engine.golden import check_golden
from retrieval_service.engine.index.shard_rows import shard_rows
from retrieval_service.engine.query import Candidates, RetrievalQuery, Shard, SimilarQuery
from tests.unit.retrieval_service.engine.memory_index import Sharded
from tests.unit.retrieval_service.engine.rule import ITEM_COUNT, ROW, array, filters, history, queries
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation
from twostage.candidates.blend import Blended
from twostage.candidates.source import Source
from twostage.errors import NotWhole

LAYOUTS = [([200], 0), ([70, 71, 200], 0), ([200], 20), ([100, 200], 20), ([3, 90, 150, 200], 20)]


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def sharded(request: pytest.FixtureRequest, rich_engine: RetrievalEngine, rich_generation: Generation) -> Sharded:
    bounds, cell_count = request.param
    return Sharded.in_memory(rich_engine.catalogue, bounds, cell_count, shares_of(rich_generation.manifest.tower))


def assert_same(merged: Blended, whole: Candidates) -> None:
    np.testing.assert_array_equal(merged.rows, whole.rows)
    np.testing.assert_array_equal(merged.scores, whole.scores)
    np.testing.assert_array_equal(merged.sources, whole.sources)
    assert merged.shortfall == whole.shortfall
    assert merged.source_ranks.keys() == whole.source_ranks.keys()
    for source, ranks in merged.source_ranks.items():
        np.testing.assert_array_equal(ranks, whole.source_ranks[source])


@settings(max_examples=60, deadline=None)
@given(query=queries(), stated=st.booleans())
def test_shards_merged_answer_as_the_whole_does(sharded: Sharded, query: RetrievalQuery, stated: bool) -> None:
    asked = query if stated else replace(query, quotas={})
    assert_same(sharded.merged(asked), sharded.whole.retrieve(asked))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), row=ROW, count=st.integers(1, 260), excluded=st.lists(ROW, max_size=190))
def test_shards_merged_find_the_same_similar_items(
    sharded: Sharded, data: st.DataObject, row: int, count: int, excluded: list[int]
) -> None:
    query = SimilarQuery(row, count, array(excluded), data.draw(filters()))
    assert_same(sharded.merged(query), sharded.whole.similar(query))


@pytest.fixture(scope="module")
def in_files(rich_generation: Generation, tmp_path_factory: pytest.TempPathFactory) -> Sharded:
    """The index in two files of FAISS."""
    folder = tmp_path_factory.mktemp("sharded") / "bundle"
    shutil.copytree(rich_generation.path, folder)
    manifest = rich_generation.manifest
    tower = manifest.tower
    vectors = np.load(folder / tower.item_vectors)
    files = [f"retrieval/default/index.{shard}.faiss" for shard in range(2)]
    for shard, file in enumerate(files):
        rows = shard_rows(shard, 2, ITEM_COUNT)
        index = faiss.IndexFlatIP(16)
        index.add(vectors[rows.start : rows.stop])
        faiss.write_index(index, str(folder / file))
    tower = tower.model_copy(update={"index": tower.index.model_copy(update={"files": files})})

    def opened(shard: int | None) -> RetrievalEngine:
        return RetrievalEngine.open_folder(
            folder,
            tower,
            attributes=manifest.attributes,
            item_count=ITEM_COUNT,
            orders=manifest.orders,
            shard=shard,
        )

    return Sharded(opened(None), [opened(shard) for shard in range(2)])


@settings(max_examples=60, deadline=None)
@given(query=queries(), stated=st.booleans())
def test_so_do_those_of_index_files(in_files: Sharded, query: RetrievalQuery, stated: bool) -> None:
    asked = query if stated else replace(query, quotas={})
    assert_same(in_files.merged(asked), in_files.whole.retrieve(asked))


def test_engines_of_index_files_know_what_they_hold(in_files: Sharded) -> None:
    assert in_files.whole.shard == Shard(0, 1)
    assert [engine.shard for engine in in_files.shards] == [Shard(0, 2), Shard(1, 2)]


def test_a_bundle_of_one_file_is_whole_as_shard_0_too(rich_generation: Generation) -> None:
    assert RetrievalEngine.open(rich_generation, shard=0).shard == Shard(0, 1)
    with pytest.raises(BundleCorrupt, match="a shard from 0 to 0"):
        RetrievalEngine.open(rich_generation, shard=1)


def test_a_shard_brings_its_own_rows_and_leaves_out_what_all_know(rich_engine: RetrievalEngine) -> None:
    sharded = Sharded.in_memory(rich_engine.catalogue, [50, ITEM_COUNT])
    query = RetrievalQuery(history(3, 4), 60, quotas={Source.NEIGHBOURS: 10, Source.POPULAR: 5})
    with_shared, without = (sharded.shards[1].gather(query, shared=shared).lists for shared in (True, False))
    assert [(entry.source, entry.group) for entry in with_shared] == [
        (Source.NEIGHBOURS, 0),
        (Source.NEIGHBOURS, 1),
        (Source.POPULAR, 0),
        (Source.USER_VECTOR, 0),
    ]
    assert [entry.source for entry in without] == [Source.NEIGHBOURS, Source.NEIGHBOURS, Source.USER_VECTOR]
    for entry in without:
        assert entry.rows.min() >= 50
        assert entry.keys is not None
        assert (np.diff(entry.keys) <= 0).all()
        assert len(entry.rows) == entry.wanted_count


def test_a_shard_asked_for_everything_says_which_it_is(rich_engine: RetrievalEngine) -> None:
    shard = Sharded.in_memory(rich_engine.catalogue, [50, ITEM_COUNT]).shards[1]
    asks: list[Callable[[], object]] = [
        lambda: shard.retrieve(RetrievalQuery(history(3), 5)),
        lambda: shard.similar(SimilarQuery(3, 5)),
    ]
    for ask in asks:
        with pytest.raises(NotWhole, match="shard 1 of 2") as caught:
            ask()
        assert caught.value.metadata == {"shard_index": "1", "shard_count": "2"}


def test_a_shard_warms_and_is_held_to_the_golden_answers(
    rich_engine: RetrievalEngine, rich_generation: Generation
) -> None:
    shard = Sharded.in_memory(rich_engine.catalogue, [50, ITEM_COUNT]).shards[1]
    shard.warm()
    assert check_golden(shard, rich_generation) == 6
