"""What is told of how searches are done, under filters of which it is known what they make of a search."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval_service.engine.index.faiss_part import SEARCH_WAYS, FaissPart
from retrieval_service.engine.index.shard_rows import shard_rows
from tests.unit.retrieval_service.engine.index.small_index import (
    ENTRIES,
    ITEM_COUNT,
    QUERIES,
    VECTORS,
    coarse_lists,
    faiss_parts,
)
from twostage.bundle.row_set import RowSet


def told(name: str, selector: RowSet | None, *, exhaustive: bool = False) -> list[str]:
    ways: list[str] = []
    entry = ENTRIES[name]
    lists = coarse_lists(entry) if entry.probe_count is not None else None
    (index,) = faiss_parts(name)
    part = FaissPart(index, entry, VECTORS, shard_rows(0, 1, ITEM_COUNT), lists, ways.append)
    part.pool(QUERIES[0], 30, selector, exhaustive=exhaustive)
    return ways


def every(step: int) -> RowSet:
    return RowSet.of_ascending(np.arange(0, ITEM_COUNT, step, dtype=np.uint32), ITEM_COUNT)


@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "hnsw"])
def test_a_search_without_a_filter_is_the_indexs(name: str) -> None:
    assert told(name, None) == ["index"]


@pytest.mark.parametrize("name", ["exact", "hnsw"])
def test_of_a_tenth_of_the_rows_an_index_without_lists_scans_what_is_allowed(name: str) -> None:
    assert told(name, every(10)) == ["scan"]


def test_a_filter_that_leaves_a_few_rows_of_an_index_with_lists_is_scanned_and_a_wide_one_is_not() -> None:
    assert told("ivf_fp16", every(1000)) == ["scan"]
    assert told("ivf_fp16", every(2)) != ["scan"]
    assert set(told("ivf_fp16", every(2))) <= {"probe", "lists"}


def test_a_second_round_is_told_apart() -> None:
    assert told("ivf_fp16", None, exhaustive=True) == ["exhaustive"]


def test_all_ways_have_different_names() -> None:
    assert len(set(SEARCH_WAYS)) == len(SEARCH_WAYS)
