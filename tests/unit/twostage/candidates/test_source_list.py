from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList, best_first, merge_shards


@given(keys=st.lists(st.integers(-3, 3), max_size=30), count=st.none() | st.integers(1, 40), seed=st.integers(0, 99))
def test_the_highest_keys_come_first_and_ties_by_row(keys: list[int], count: int | None, seed: int) -> None:
    rows = np.random.default_rng(seed).permutation(100)[: len(keys)].astype(np.uint32)
    order = best_first(rows, np.array(keys, np.float32), count)
    expected = sorted(range(len(keys)), key=lambda position: (-keys[position], rows[position]))[:count]
    assert order.tolist() == expected


def part(rows: list[int], *, wanted_count: int, coded: bool, pool_count: int = 0) -> SourceList:
    """Keys go up by the row's last digit, codes by its tens; ties abound."""
    array = np.array(rows, np.uint32)
    keys = (array % 10).astype(np.float32)
    codes = (array // 10).astype(np.float32) if coded and rows else None
    return SourceList(Source.NEIGHBOURS, array, -keys, wanted_count, keys if rows else None, codes, pool_count, group=2)


@given(
    owner=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    wanted_count=st.integers(1, 20),
    coded=st.booleans(),
    pool_count=st.integers(1, 40),
)
def test_shards_merged_are_the_whole(owner: list[int], wanted_count: int, coded: bool, pool_count: int) -> None:
    shards = [[row for row, own in enumerate(owner) if own == shard] for shard in range(4)]
    merged = merge_shards(
        [part(rows, wanted_count=wanted_count, coded=coded, pool_count=pool_count) for rows in shards]
    )
    pool = list(range(len(owner)))
    if coded:
        pool = sorted(pool, key=lambda row: (-(row // 10), row))[:pool_count]
    expected = sorted(pool, key=lambda row: (-(row % 10), row))[:wanted_count]
    assert merged.rows.tolist() == expected
    assert merged.keys is not None
    assert merged.keys.tolist() == [row % 10 for row in expected]
    assert merged.scores.tolist() == [-(row % 10) for row in expected]
    assert (merged.source, merged.group, merged.wanted_count) == (Source.NEIGHBOURS, 2, wanted_count)


def test_shards_that_found_nothing_merge_to_nothing() -> None:
    merged = merge_shards([part([], wanted_count=3, coded=True)] * 2)
    assert (len(merged.rows), merged.wanted_count) == (0, 3)
