from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twostage.errors import InvalidField
from twostage.messages.bounds import (
    check_length,
    checked_count,
    checked_numbers,
    checked_rows,
    checked_text,
    checked_texts,
    checked_time,
)
from twostage.v1 import common_pb2


@pytest.mark.parametrize("text", ["a", "x" * 256, "é" * 128, "漢" * 85])
def test_texts_within_the_bound_pass(text: str) -> None:
    assert checked_texts("ids", [text, "b"], 2) == [text, "b"]


@pytest.mark.parametrize("text", ["x" * 257, "é" * 129, "漢" * 86, ""])
def test_a_text_outside_the_bound_is_named_by_its_position(text: str) -> None:
    with pytest.raises(InvalidField, match=r"^ids\[1\]: expected 1 to 256 bytes of UTF-8, received '"):
        checked_texts("ids", ["b", text], 2)


def test_an_empty_text_passes_where_nothing_is_asked_of_it() -> None:
    assert checked_texts("actions", ["", "rated"], 2, least=0) == ["", "rated"]
    assert checked_text("surface", "", 64) == ""


def test_too_many_texts_are_counted() -> None:
    with pytest.raises(InvalidField, match=r"^ids: expected at most 2 entries, received 3$"):
        checked_texts("ids", ["a", "b", "c"], 2)


def test_texts_are_copied_out_of_their_message() -> None:
    message = common_pb2.History(item_ids=["a"])
    texts = checked_texts("ids", message.item_ids, 1)
    message.item_ids[0] = "b"
    assert texts == ["a"]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=6), max_size=4), most=st.integers(0, 12), least=st.sampled_from([0, 1]))
def test_texts_pass_exactly_when_each_ones_utf8_is_within_the_bounds(texts: list[str], most: int, least: int) -> None:
    wrong = [n for n, text in enumerate(texts) if not least <= len(text.encode()) <= most]
    if not wrong:
        assert checked_texts("t", texts, 4, most, least=least) == texts
        return
    with pytest.raises(InvalidField) as caught:
        checked_texts("t", texts, 4, most, least=least)
    assert caught.value.violations[0].field == f"t[{wrong[0]}]"


def test_a_list_has_at_least_and_at_most_so_many_entries() -> None:
    check_length("events", [1], 2, least=1)
    check_length("events", [1, 2], 2, least=1)
    with pytest.raises(InvalidField, match=r"^events: expected 1 to 2 entries, received 0$"):
        check_length("events", [], 2, least=1)
    with pytest.raises(InvalidField, match=r"^events: expected 1 to 2 entries, received 3$"):
        check_length("events", [1, 2, 3], 2, least=1)


def test_a_count_is_within_its_bounds() -> None:
    assert [checked_count("count", count, 200) for count in (1, 200)] == [1, 200]
    assert checked_count("max_count", 0, 200, least=0) == 0
    for count in (0, 201, -1, 2**31 - 1):
        with pytest.raises(InvalidField, match=rf"^count: expected 1 to 200, received {count}$"):
            checked_count("count", count, 200)


def test_rows_become_an_array() -> None:
    rows = checked_rows("rows", [3, 0, 9], 3, item_count=10)
    assert (rows.tolist(), rows.dtype) == ([3, 0, 9], np.dtype(np.uint32))
    assert len(checked_rows("rows", [], 3, item_count=10)) == 0
    assert checked_rows("rows", [2**32 - 1], 3).tolist() == [2**32 - 1]


def test_a_row_past_the_end_is_named_by_its_position() -> None:
    with pytest.raises(InvalidField, match=r"^rows\[1\]: expected a row below 10, received 10$"):
        checked_rows("rows", [3, 10, 11], 3, item_count=10)


def test_too_many_rows_are_counted() -> None:
    with pytest.raises(InvalidField, match=r"^rows: expected at most 2 entries, received 3$"):
        checked_rows("rows", [1, 2, 3], 2, item_count=10)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named_by_its_position(wrong: float) -> None:
    assert checked_numbers("scores", [1.5, -2.0]).tolist() == [1.5, -2.0]
    with pytest.raises(InvalidField, match=rf"^scores\[1\]: expected a finite number, received {wrong}$"):
        checked_numbers("scores", [1.0, wrong, wrong])


def test_nan_may_stand_for_no_number_and_the_infinite_never() -> None:
    assert np.isnan(checked_numbers("values", [math.nan], nan_is_none=True)).all()
    with pytest.raises(InvalidField, match=r"^values\[1\]: expected a finite number, or NaN for none, received -inf$"):
        checked_numbers("values", [math.nan, -math.inf], nan_is_none=True)


def test_times_are_those_from_1970_to_9999() -> None:
    last = 253_402_300_799  # date -u -d 9999-12-31T23:59:59 +%s
    assert [checked_time("time", seconds) for seconds in (0, last)] == [0, last]
    for seconds in (-1, last + 1):
        with pytest.raises(InvalidField, match=rf"^time: expected a time from 1970 to 9999, received {seconds}$"):
            checked_time("time", seconds)
