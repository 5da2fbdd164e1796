"""Reads histories: parallel columns of rows or ids, actions, values and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from twostage.errors import InvalidField
from twostage.features.history import History
from twostage.messages.bounds import (
    MAX_HISTORY_COUNT,
    MAX_NAME_BYTES,
    checked_numbers,
    checked_rows,
    checked_text,
    checked_texts,
)
from twostage.v1 import common_pb2

RowsOf = Callable[[list[str]], NDArray[np.int64]]
"""Ids to rows, -1 where unknown."""


def read_history(
    message: common_pb2.History, rows_of: RowsOf, action_codes: Mapping[str, int], *, item_count: int | None = None
) -> History:
    """Reads a history with all its columns; entries of unknown ids are left out of each.

    Args:
        message: As it came.
        rows_of: Ids to rows.
        action_codes: The codes of recorded actions, from 1; other names count as unknown, 0.
        item_count: Rows must be below it; None when whoever reads them next checks.

    Raises:
        InvalidField: A field breaks the contract, or columns differ in length.
    """
    rows = _rows(message, rows_of, item_count)
    count = len(rows)
    names, numbers, seconds = message.actions, message.values, message.times_seconds
    actions = _codes(names, action_codes) if names else np.zeros(count, np.int32)
    if numbers:
        values = checked_numbers("history.values", numbers, nan_is_none=True)
    else:
        values = np.full(count, np.nan, np.float32)
    times = np.array(seconds, np.int64) if seconds else np.zeros(count, np.int64)
    if message.item_ids:
        known = rows >= 0
        if not known.all():
            rows, actions, values, times = rows[known], actions[known], values[known], times[known]
    return History(rows.astype(np.uint32, copy=False), actions, values, times)


def read_history_items(message: common_pb2.History, rows_of: RowsOf, *, item_count: int | None = None) -> History:
    """Reads a history for those who look at its items alone; the other columns are checked and left unknown.

    Args:
        message: As it came.
        rows_of: Ids to rows.
        item_count: Rows must be below it; None when whoever reads them next checks.

    Raises:
        InvalidField: A field breaks the contract, or columns differ in length.
    """
    rows = _rows(message, rows_of, item_count)
    checked_texts("history.actions", message.actions, MAX_HISTORY_COUNT, MAX_NAME_BYTES, least=0)
    return History.of_rows(rows[rows >= 0] if message.item_ids else rows)


def _rows(message: common_pb2.History, rows_of: RowsOf, item_count: int | None) -> NDArray[np.integer]:
    """The rows of all entries, -1 where unknown, once every column has one length."""
    item_ids = message.item_ids
    rows: NDArray[np.integer]
    if item_ids:
        if message.rows:
            received = f"{len(item_ids)} ids beside {len(message.rows)} rows"
            raise InvalidField("history.item_ids", "rows or item_ids, never both", received)
        rows = rows_of(checked_texts("history.item_ids", item_ids, MAX_HISTORY_COUNT))
    else:
        rows = checked_rows("history.rows", message.rows, MAX_HISTORY_COUNT, item_count=item_count)
    count = len(rows)
    for name, length in (
        ("actions", len(message.actions)),
        ("values", len(message.values)),
        ("times_seconds", len(message.times_seconds)),
    ):
        if length not in (0, count):
            raise InvalidField(f"history.{name}", f"0 or {count} entries, one for each item", length)
    return rows


def _codes(names: Sequence[str], known: Mapping[str, int]) -> NDArray[np.int32]:
    codes = [known.get(name, 0) for name in names]
    # A known name is short enough.
    if 0 in codes:
        for position, name in enumerate(names):
            checked_text(f"history.actions[{position}]", name, MAX_NAME_BYTES)
    return np.array(codes, np.int32)
