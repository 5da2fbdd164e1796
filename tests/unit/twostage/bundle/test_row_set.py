from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twostage.bundle.row_set import RowSet, few_rows

ITEM_COUNTS = st.one_of(
    st.integers(1, 300), st.sampled_from([63, 64, 65, 4_096, 5_001, 40_000, 200_003]), st.integers(1, 20_000)
)
SHARES = st.sampled_from([0.0, 0.0005, 0.004, 0.02, 0.05, 0.3, 0.9, 1.0])


def as_set(rows: RowSet) -> set[int]:
    return set(rows.rows.tolist())


def drawn(generator: np.random.Generator, item_count: int, share: float) -> list[int]:
    return np.flatnonzero(generator.random(item_count) < share).tolist()


def made(rows: list[int], item_count: int, way: str) -> RowSet:
    """The same rows, in each of the ways in which a set comes about."""
    ascending = np.array(rows, np.uint32)
    if way == "ascending":
        return RowSet.of_ascending(ascending, item_count)
    if way == "shuffled":
        return RowSet.of_rows(np.random.default_rng(0).permutation(np.repeat(ascending, 2)), item_count)
    mask = np.zeros(item_count, np.bool_)
    mask[ascending] = True
    return RowSet.of_mask(mask) if way == "mask" else RowSet(RowSet.of_mask(mask).words, item_count)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, list[int], list[int], RowSet, RowSet]:
    item_count = draw(ITEM_COUNTS)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first, second = drawn(generator, item_count, draw(SHARES)), drawn(generator, item_count, draw(SHARES))
    ways = st.sampled_from(["ascending", "shuffled", "mask", "words"])
    return item_count, first, second, made(first, item_count, draw(ways)), made(second, item_count, draw(ways))


@settings(deadline=None)
@given(pairs())
def test_a_set_shows_the_rows_it_was_made_of(pair: tuple[int, list[int], list[int], RowSet, RowSet]) -> None:
    item_count, expected, probes, rows, _ = pair
    mask = np.zeros(item_count, np.bool_)
    mask[expected] = True
    assert len(rows) == len(expected)
    assert rows.rows.tolist() == expected
    assert rows.rows.dtype == np.uint32
    assert rows.mask.tolist() == mask.tolist()
    octets = np.packbits(mask, bitorder="little")
    assert rows.octets.tolist() == [*octets.tolist(), *[0] * (-len(octets) % 8)]
    assert rows.words.view(np.uint8).tolist() == rows.octets.tolist()
    in_two_types: list[NDArray[np.integer]] = [np.array(probes, np.uint32), np.array(probes, np.int64)]
    for asked in in_two_types:
        assert rows.has(asked).tolist() == [bool(mask[row]) for row in probes]
        assert rows.keep(asked).tolist() == [row for row in probes if mask[row]]
        assert rows.keep(asked).dtype == asked.dtype


@settings(deadline=None)
@given(pairs())
def test_sets_combine_as_sets_do(pair: tuple[int, list[int], list[int], RowSet, RowSet]) -> None:
    item_count, first, second, left, right = pair
    mine, theirs = set(first), set(second)
    for result, expected in (
        (left & right, mine & theirs),
        (left | right, mine | theirs),
        (left - right, mine - theirs),
        (~left, set(range(item_count)) - mine),
        (left.without(np.array(second * 2, np.int64)), mine - theirs),
        (
            left.exchanged(np.array(sorted(theirs - mine), np.uint32), np.array(sorted(mine & theirs), np.uint32)),
            mine ^ theirs,
        ),
    ):
        assert as_set(result) == expected
        # Counted by the bits too, which shows bits past the last item and counts carried along wrongly.
        assert len(result) == int(np.bitwise_count(result.words).sum()) == len(expected)
        assert result.mask.sum() == len(expected)
    assert left.rows.tolist() == first
    assert right.rows.tolist() == second


@settings(deadline=None)
@given(st.integers(1, 1_000))
@example(64)
@example(128)
def test_all_rows_are_all_and_no_more(item_count: int) -> None:
    every = RowSet.all_rows(item_count)
    assert every.rows.tolist() == list(range(item_count))
    assert len(every) == int(np.bitwise_count(every.words).sum()) == item_count


@pytest.mark.parametrize("runs", [1, 3, 100])
def test_rows_in_runs_come_out_ascending(runs: int) -> None:
    generator = np.random.default_rng(3)
    rows = np.concatenate([np.sort(generator.choice(500_000, 30, replace=False)) for _ in range(runs)])
    assert RowSet.of_rows(rows, 500_000).rows.tolist() == sorted(set(rows.tolist()))


def test_few_rows_are_kept_and_many_are_found_anew() -> None:
    few, many = np.arange(0, 64_000, 64, dtype=np.uint32), np.arange(0, 64_000, 2, dtype=np.uint32)
    mask = np.zeros(64_000, np.bool_)
    mask[few] = True
    sparse = RowSet.of_mask(mask)
    before, same, after = sparse.has_few_rows, sparse.rows is sparse.rows, sparse.has_few_rows
    assert (before, same, after) == (False, True, True)
    assert sparse.most_bytes == 8_000 + 4 * len(few)
    mask[many] = True
    dense = RowSet.of_mask(mask)
    assert dense.rows is not dense.rows
    assert not dense.has_few_rows
    assert dense.most_bytes == 8_000
    assert RowSet.of_ascending(many, 64_000).most_bytes == 8_000 + 4 * len(many)
    assert len(few) <= few_rows(64_000) < len(many)


@pytest.mark.parametrize("way", ["ascending", "shuffled", "mask", "words"])
def test_nobody_writes_into_a_set(way: str) -> None:
    rows = made([1, 70, 900], 1_000, way)
    for array in (rows.words, rows.octets, rows.rows):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    rows.mask[0] = True
    assert as_set(rows) == {1, 70, 900}


def test_a_set_survives_pickling() -> None:
    assert as_set(pickle.loads(pickle.dumps(made([3, 5], 100, "ascending")))) == {3, 5}  # noqa: S301 - our own bytes
