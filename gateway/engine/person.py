"""What is known of the person whom a request is for, in rows of one generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.engine.taste import TasteEvent
from twostage.bundle.id_table import IdTable
from twostage.features.history import HISTORY_LENGTH

MAX_EXCLUDED_ROWS = 20_000
"""As many rows as retrieval takes."""


class HistoryColumns(NamedTuple):
    """A history as parallel columns, oldest first; all but ``rows`` are empty when only the items are known.

    Args:
        rows: The items.
        actions: Recorded actions' names.
        values: E.g. stars, NaN where there is none.
        times_seconds: Unix seconds, 0 where unknown.
    """

    rows: Sequence[int] = ()
    actions: Sequence[str] = ()
    values: Sequence[float] = ()
    times_seconds: Sequence[int] = ()


NO_HISTORY = HistoryColumns()
"""The history of somebody who did nothing."""


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What a user store knows of a person.

    Args:
        taste: The newest events that count as taste, oldest first.
        seen_item_ids: Distinct items of the newest events of whatever kind, the newest first.
    """

    taste: Sequence[TasteEvent] = ()
    seen_item_ids: Sequence[str] = ()


NOBODY = StoredUser()
"""What is known of somebody unknown."""


@dataclass(frozen=True, slots=True)
class Person:
    """A request's person in rows.

    Args:
        history: Their taste, oldest first, at most 50 entries.
        excluded_rows: Distinct rows not to recommend, at most 20,000.
        unknown_item_count: How many ids of the history the generation does not know.
    """

    history: HistoryColumns = NO_HISTORY
    excluded_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    unknown_item_count: int = 0


def describe_person(
    ids: IdTable,
    stored: StoredUser,
    *,
    recent_item_ids: Sequence[str] = (),
    exclude_item_ids: Sequence[str] = (),
    include_seen: bool = False,
) -> Person:
    """Merges what is stored with what a request says.

    Args:
        ids: The generation's ids.
        stored: What the user store knows.
        recent_item_ids: The history for this request, oldest first; replaces the stored taste unless empty, and adds
            to what the person has seen.
        exclude_item_ids: Items not to recommend; unknown ids are ignored.
        include_seen: True lets seen items through; excluded ones stay excluded.
    """
    taste_ids = list(recent_item_ids) if recent_item_ids else [event.item_id for event in stored.taste]
    seen_ids = [] if include_seen else stored.seen_item_ids
    # One look-up for everything: its fixed cost is larger than that of a few dozen ids.
    rows = ids.rows([*taste_ids, *exclude_item_ids, *seen_ids])
    taste_rows = rows[: len(taste_ids)]
    known = taste_rows >= 0
    history = _history(taste_rows, known, () if recent_item_ids else stored.taste)
    # When there are too many, the oldest of the seen ones are let go: they come last.
    excluded = rows[len(taste_ids) :]
    if recent_item_ids and not include_seen:
        excluded = np.concatenate([excluded[: len(exclude_item_ids)], taste_rows, excluded[len(exclude_item_ids) :]])
    return Person(
        history=history,
        excluded_rows=_distinct_known(excluded, MAX_EXCLUDED_ROWS),
        unknown_item_count=len(taste_ids) - int(np.count_nonzero(known)),
    )


def _history(rows: NDArray[np.int64], known: NDArray[np.bool_], events: Sequence[TasteEvent]) -> HistoryColumns:
    if not events:
        return HistoryColumns(rows=rows[known][-HISTORY_LENGTH:].tolist())
    kept = [
        (row, event.action, float("nan") if event.value is None else event.value, event.time_seconds)
        for row, event in zip(rows.tolist(), events, strict=True)
        if row >= 0
    ][-HISTORY_LENGTH:]
    if not kept:
        return NO_HISTORY
    kept_rows, actions, values, times = zip(*kept, strict=True)
    return HistoryColumns(kept_rows, actions, values, times)


def _distinct_known(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Distinct rows without -1; the first ones when there are more than ``limit``."""
    distinct = dict.fromkeys(rows.tolist())
    distinct.pop(-1, None)
    return np.fromiter(distinct, np.int64, len(distinct))[:limit]
