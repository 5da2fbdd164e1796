"""A person's recent history as the fixed-size arrays that towers and rankers read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HISTORY_LENGTH = 50
"""How many of the newest history entries the towers and rankers see."""

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class History:
    """What a person did with items of one generation, oldest first, as parallel columns of length H.

    Args:
        rows: uint32[H], rows of the generation's catalogue.
        actions: int32[H], 1 + the position in the schema's recorded names, 0 when unknown.
        values: float32[H], e.g. stars; NaN where there is none.
        times: int64[H], Unix seconds; 0 where unknown.
    """

    rows: NDArray[np.uint32]
    actions: NDArray[np.int32]
    values: NDArray[np.float32]
    times: NDArray[np.int64]

    @classmethod
    def of_rows(cls, rows: NDArray[np.integer]) -> History:
        """A history of which only the rows are known."""
        count = len(rows)
        return cls(
            rows=np.asarray(rows, dtype=np.uint32),
            actions=np.zeros(count, np.int32),
            values=np.full(count, np.nan, np.float32),
            times=np.zeros(count, np.int64),
        )

    def __len__(self) -> int:
        """The number of entries."""
        return len(self.rows)

    def newest(self, count: int = HISTORY_LENGTH) -> History:
        """The newest ``count`` entries, still oldest first."""
        if len(self.rows) <= count:
            return self
        return History(self.rows[-count:], self.actions[-count:], self.values[-count:], self.times[-count:])


@dataclass(frozen=True)
class PaddedHistory:
    """The newest entries of a history, right-padded to HISTORY_LENGTH; batch dimension 1.

    Args:
        rows: uint32[1, 50], 0 where padded.
        mask: float32[1, 50], 1 where there is an entry, else 0.
        actions: int32[1, 50], 0 where padded or unknown.
        values: float32[1, 50], 0 where padded or missing.
        ages_days: float32[1, 50], days from the entry to the request, 0 where padded or unknown.
    """

    rows: NDArray[np.uint32]
    mask: NDArray[np.float32]
    actions: NDArray[np.int32]
    values: NDArray[np.float32]
    ages_days: NDArray[np.float32]


def pad_history(history: History, now_seconds: int = 0) -> PaddedHistory:
    """Pads a history for a tower or a ranker.

    Args:
        history: The history, oldest first, of any length; the newest 50 entries are used.
        now_seconds: The request's time in Unix seconds; 0 when unknown, then all ages are 0.
    """
    newest = history.newest()
    count = len(newest)
    rows = np.zeros((1, HISTORY_LENGTH), np.uint32)
    mask = np.zeros((1, HISTORY_LENGTH), np.float32)
    actions = np.zeros((1, HISTORY_LENGTH), np.int32)
    numbers = _padded_numbers(newest, now_seconds)
    rows[0, :count] = newest.rows
    mask[0, :count] = 1.0
    actions[0, :count] = newest.actions
    return PaddedHistory(rows, mask, actions, numbers[:1], numbers[1:])


def pack_history(history: History, now_seconds: int = 0) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Pads a history into two arrays, for a ranker that reads rows.

    Args:
        history: The history, oldest first, of any length; the newest 50 entries are used.
        now_seconds: The request's time in Unix seconds; 0 when unknown, then all ages are 0.

    Returns:
        int32[2, 50], rows, -1 where padded, and actions, 0 there; float32[2, 50], values and ages in days, as of
        :class:`PaddedHistory`.
    """
    newest = history.newest()
    count = len(newest)
    codes = np.zeros((2, HISTORY_LENGTH), np.int32)
    codes[0, :count] = newest.rows
    codes[0, count:] = -1
    codes[1, :count] = newest.actions
    return codes, _padded_numbers(newest, now_seconds)


def _padded_numbers(newest: History, now_seconds: int) -> NDArray[np.float32]:
    """float32[2, 50], values and ages in days of at most 50 entries."""
    count = len(newest)
    numbers = np.zeros((2, HISTORY_LENGTH), np.float32)
    np.copyto(numbers[0, :count], newest.values, where=~np.isnan(newest.values))
    if now_seconds > 0:
        known = newest.times > 0
        numbers[1, :count] = np.where(known, np.maximum(now_seconds - newest.times, 0), 0) / SECONDS_PER_DAY
    return numbers
