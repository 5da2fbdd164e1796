from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twostage.bundle.coded_values import CodedValues
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.stretches import stretches
from twostage.bundle.value_postings import ValuePostings


def random_codes(
    seed: int, item_count: int, value_count: int, most: int
) -> tuple[NDArray[Any], NDArray[np.uint32], list[set[int]]]:
    """Codes by item, skewed so that some values are frequent and most are rare."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, value_count + 1)
    items = [
        np.unique(generator.choice(value_count, generator.integers(0, most + 1), p=weights / weights.sum()))
        for _ in range(item_count)
    ]
    offsets = np.concatenate([[0], np.cumsum([len(codes) for codes in items])]).astype(np.int64)
    codes = np.concatenate([*items, np.empty(0, np.int64)]).astype(np.uint32)
    return offsets, codes, [set(item.tolist()) for item in items]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    item_count=st.integers(1, 500),
    value_count=st.sampled_from([1, 5, 300]),
    most=st.integers(0, 4),
    asked_share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_unions_are_those_of_the_items_own_codes(
    seed: int, item_count: int, value_count: int, most: int, asked_share: float
) -> None:
    offsets, codes, items = random_codes(seed, item_count, value_count, most)
    postings = ValuePostings.build(offsets, codes, value_count)
    asked = np.flatnonzero(np.random.default_rng(seed).random(value_count) < asked_share)
    union = postings.union(asked)
    wanted = set(asked.tolist())
    expected = [row for row, own in enumerate(items) if own & wanted]
    assert union.rows.tolist() == expected
    assert len(union) == int(np.bitwise_count(union.words).sum()) == len(expected)
    assert postings.counts(asked).tolist() == [sum(code in own for own in items) for code in asked.tolist()]


@pytest.mark.parametrize(("value_count", "most"), [(3_000, 3), (40, 3), (1, 0)])
def test_written_postings_open_as_they_were_built(tmp_path: Path, value_count: int, most: int) -> None:
    offsets, codes, items = random_codes(5, 700, value_count, most)
    ValuePostings.build(offsets, codes, value_count).write(tmp_path)
    opened = ValuePostings.open(tmp_path, code_count=len(codes), value_count=value_count, item_count=700)
    assert opened is not None
    for asked in ([0], list(range(0, value_count, 2)), list(range(value_count))):
        expected = [row for row, own in enumerate(items) if own & set(asked)]
        assert opened.union(np.array(asked)).rows.tolist() == expected


def test_only_values_of_more_than_one_item_in_256_have_a_bitmap(tmp_path: Path) -> None:
    offsets = np.arange(641, dtype=np.int64)
    codes = np.repeat([0, 1, 2], [3, 2, 635]).astype(np.uint32)
    ValuePostings.build(offsets, codes, 3).write(tmp_path)
    assert np.load(tmp_path / "frequent.npy").tolist() == [0, 2]
    assert np.load(tmp_path / "bitmaps.npy").shape == (2, 10)


def test_a_rare_value_is_read_from_the_postings_as_they_lie(tmp_path: Path) -> None:
    offsets, codes, _ = random_codes(1, 2_000, 500, 2)
    postings = ValuePostings.build(offsets, codes, 500)
    rare = int(np.argmin(postings.counts(np.arange(500))))
    assert postings.union(np.array([rare])).has_few_rows


def test_an_item_with_a_code_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="repeated one for item 1"):
        ValuePostings.build(np.array([0, 1, 3]), np.array([0, 4, 4], np.uint32), 5)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("postings", np.zeros(3, np.uint32)),
        ("posting_offsets", np.zeros(41, np.int64)),
        ("bitmaps", np.zeros((1, 2), np.uint64)),
        ("frequent", None),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, name: str, array: NDArray[Any] | None) -> None:
    offsets, codes, _ = random_codes(2, 300, 40, 3)
    ValuePostings.build(offsets, codes, 40).write(tmp_path)
    if array is None:
        (tmp_path / f"{name}.npy").unlink()
    else:
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(BundleCorrupt):
        ValuePostings.open(tmp_path, code_count=len(codes), value_count=40, item_count=300)


def test_a_folder_without_postings_is_an_older_bundle(tmp_path: Path) -> None:
    assert ValuePostings.open(tmp_path, code_count=1, value_count=1, item_count=1) is None


@settings(deadline=None)
@given(lengths=st.lists(st.sampled_from([0, 1, 2, 400]), min_size=1, max_size=30), data=st.integers(0, 2**32 - 1))
def test_stretches_are_slices_put_together(lengths: list[int], data: int) -> None:
    array = np.random.default_rng(data).integers(0, 1_000, 2_000)
    starts = np.random.default_rng(data + 1).integers(0, 1_600, len(lengths))
    ends = starts + np.array(lengths)
    expected = [value for start, end in zip(starts, ends, strict=True) for value in array[start:end].tolist()]
    assert stretches(array, starts, ends).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=5), max_size=20))
def test_values_are_coded_in_their_order_without_repeats(values: list[list[str]]) -> None:
    coded = CodedValues.of_values(values)
    decoded = [
        [coded.vocabulary[code] for code in coded.codes[start:end]]
        for start, end in zip(coded.offsets[:-1], coded.offsets[1:], strict=True)
    ]
    assert decoded == [list(dict.fromkeys(item)) for item in values]
    assert list(coded.vocabulary) == list(dict.fromkeys(value for item in values for value in item))


@pytest.mark.parametrize(
    ("offsets", "codes"),
    [([0, 2], [0]), ([1, 2], [0, 0]), ([], []), ([0, 2, 1, 2], [0, 1]), ([0, 1], [2])],
)
def test_codes_that_do_not_fit_are_refused(offsets: list[int], codes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected .*(received|found)"):
        CodedValues(np.array(offsets, np.int64), np.array(codes, np.uint32), ["a", "b"])


def test_when_too_many_values_are_frequent_the_most_frequent_have_bitmaps(tmp_path: Path) -> None:
    # 200 values of one item in 200, those of even code with one item more.
    codes = np.concatenate([np.tile(np.arange(200), 5), np.arange(0, 200, 2)]).astype(np.uint32)
    ValuePostings.build(np.arange(len(codes) + 1), codes, 200).write(tmp_path)
    frequent = np.load(tmp_path / "frequent.npy").tolist()
    assert frequent == sorted([*range(0, 200, 2), *range(1, 57, 2)])
    opened = ValuePostings.open(tmp_path, code_count=len(codes), value_count=200, item_count=len(codes))
    assert opened is not None
    assert opened.union(np.arange(100, 200)).rows.tolist() == np.flatnonzero(codes >= 100).tolist()
