from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from twostage.errors import InvalidField
from twostage.features.history import History
from twostage.messages.history import read_history, read_history_items
from twostage.v1 import common_pb2

Message = common_pb2.History
_ROWS = {"a": 3, "ü": 9}
_CODES = {"rated": 1, "shelved": 2}


def _rows_of(ids: list[str]) -> NDArray[np.int64]:
    return np.array([_ROWS.get(item_id, -1) for item_id in ids], np.int64)


def _whole(message: Message) -> History:
    return read_history(message, _rows_of, _CODES, item_count=10)


def _items(message: Message) -> History:
    return read_history_items(message, _rows_of, item_count=10)


def _columns(history: History) -> list[list[float]]:
    return [column.tolist() for column in (history.rows, history.actions, history.values, history.times)]


def test_all_columns_arrive_in_their_types() -> None:
    history = _whole(Message(rows=[1, 2], actions=["rated", "danced"], values=[4.5, 2.0], times_seconds=[10, 0]))
    assert _columns(history) == [[1, 2], [1, 0], [4.5, 2.0], [10, 0]]
    types = [column.dtype for column in (history.rows, history.actions, history.values, history.times)]
    assert types == [np.uint32, np.int32, np.float32, np.int64]


@pytest.mark.parametrize("read", [_whole, _items])
def test_columns_that_are_not_given_are_unknown(read: Callable[[Message], History]) -> None:
    history = read(Message(rows=[1, 2]))
    assert (history.rows.tolist(), history.actions.tolist(), history.times.tolist()) == ([1, 2], [0, 0], [0, 0])
    assert np.isnan(history.values).all()
    assert len(read(Message())) == 0


def test_entries_of_unknown_ids_leave_every_column() -> None:
    message = Message(
        item_ids=["a", "nobody", "ü"], actions=["rated", "rated", "shelved"], values=[1, 2, 3], times_seconds=[7, 8, 9]
    )
    assert _columns(_whole(message)) == [[3, 9], [1, 2], [1, 3], [7, 9]]
    assert _items(message).rows.tolist() == [3, 9]
    assert _items(message).rows.dtype == np.uint32


WRONG: list[tuple[Message, str]] = [
    (Message(rows=[1], item_ids=["a"]), "history.item_ids"),
    (Message(rows=[0, 10]), "history.rows[1]"),
    (Message(rows=[1] * 1001), "history.rows"),
    (Message(item_ids=["a"] * 1001), "history.item_ids"),
    (Message(item_ids=["a", "ü" * 129]), "history.item_ids[1]"),
    (Message(item_ids=[""]), "history.item_ids[0]"),
    (Message(rows=[1, 2], actions=["rated"]), "history.actions"),
    (Message(rows=[1, 2], actions=["rated", "x" * 65]), "history.actions[1]"),
    (Message(rows=[1, 2], values=[1, 2, 3]), "history.values"),
    (Message(values=[1]), "history.values"),
    (Message(item_ids=["a"], times_seconds=[1, 2]), "history.times_seconds"),
]


@pytest.mark.parametrize("read", [_whole, _items])
@pytest.mark.parametrize(("message", "field"), WRONG, ids=[f"{n}-{field}" for n, (_, field) in enumerate(WRONG)])
def test_what_breaks_the_contract_is_refused_by_its_path(
    read: Callable[[Message], History], message: Message, field: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        read(message)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_an_infinite_value_is_refused_by_who_reads_values() -> None:
    with pytest.raises(InvalidField, match=r"^history\.values\[1\]: expected a finite number, or NaN for none"):
        _whole(Message(rows=[1, 2], values=[math.nan, math.inf]))


def test_rows_are_left_to_the_reader_where_no_item_count_is_given() -> None:
    assert read_history(Message(rows=[4_000_000_000]), _rows_of, _CODES).rows.tolist() == [4_000_000_000]
