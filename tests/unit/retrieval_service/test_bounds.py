from __future__ import annotations

import pytest

from retrieval_service.bounds import check_text, check_texts, checked_rows
from twostage.errors import InvalidField


@pytest.mark.parametrize("text", ["a", "x" * 256, "é" * 128, "漢" * 85])
def test_texts_within_the_bound_pass(text: str) -> None:
    check_texts("ids", [text, "b"], most_count=2)


@pytest.mark.parametrize("text", ["x" * 257, "é" * 129, "漢" * 86, ""])
def test_a_text_outside_the_bound_is_named_by_its_position(text: str) -> None:
    with pytest.raises(InvalidField, match=r"^ids\[1\]: expected 1 to 256 bytes of UTF-8, received"):
        check_texts("ids", ["b", text], most_count=2)


def test_an_empty_text_passes_where_nothing_is_asked_of_it() -> None:
    check_texts("actions", ["", "rated"], most_count=2, least_bytes=0)
    check_text("surface", "", most_bytes=64)


def test_too_many_texts_are_counted() -> None:
    with pytest.raises(InvalidField, match=r"^ids: expected at most 2 entries, received '3'"):
        check_texts("ids", ["a", "b", "c"], most_count=2)


def test_rows_become_an_array() -> None:
    assert checked_rows("rows", [3, 0, 9], most_count=3, item_count=10).tolist() == [3, 0, 9]
    assert len(checked_rows("rows", [], most_count=3, item_count=10)) == 0


def test_a_row_past_the_end_is_named_by_its_position() -> None:
    with pytest.raises(InvalidField, match=r"^rows\[1\]: expected a row below 10, received 10$"):
        checked_rows("rows", [3, 10, 11], most_count=3, item_count=10)


def test_too_many_rows_are_counted() -> None:
    with pytest.raises(InvalidField, match=r"^rows: expected at most 2 entries"):
        checked_rows("rows", [1, 2, 3], most_count=2, item_count=10)
