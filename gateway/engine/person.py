"""What is known of the person whom a request is for, in rows of one generation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.engine.row_cache import RowCache
from gateway.engine.taste import TasteEvent
from twostage.features.history import HISTORY_LENGTH

MAX_EXCLUDED_ROWS = 20_000
"""As many rows as retrieval takes."""

MAX_VALUE = (2 - 2**-23) * 2.0**127
"""The largest size of an event's value: the stages are sent 32-bit floats."""


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
    excluded_rows: Sequence[int] = ()
    unknown_item_count: int = 0


def describe_person(
    cache: RowCache,
    stored: StoredUser,
    *,
    recent_item_ids: Sequence[str] = (),
    exclude_item_ids: Sequence[str] = (),
    include_seen: bool = False,
) -> Person:
    """Merges what is stored with what a request says.

    Args:
        cache: The generation's ids to rows.
        stored: What the user store knows.
        recent_item_ids: The history for this request, oldest first; replaces the stored taste unless empty, and adds
            to what the person has seen.
        exclude_item_ids: Items not to recommend; unknown ids are ignored.
        include_seen: True lets seen items through; excluded ones stay excluded.
    """
    events = () if recent_item_ids else stored.taste
    taste_ids = recent_item_ids or [event.item_id for event in events]
    # When there are too many, the oldest of the seen ones are let go: they come last.
    excluded_ids = exclude_item_ids if include_seen else [*exclude_item_ids, *recent_item_ids, *stored.seen_item_ids]
    # One look-up for everything, each id once: what somebody likes they have mostly seen as well.
    distinct = list(dict.fromkeys([*taste_ids, *excluded_ids]))
    if not distinct:
        return _NOBODY_IN_PARTICULAR
    rows = dict(zip(distinct, cache.rows(distinct), strict=True))
    known = [row for item_id in taste_ids if (row := rows[item_id]) >= 0]
    excluded = [row for item_id in dict.fromkeys(excluded_ids) if (row := rows[item_id]) >= 0]
    return Person(
        history=_event_columns(rows, events) if events else HistoryColumns(known[-HISTORY_LENGTH:]),
        excluded_rows=excluded[:MAX_EXCLUDED_ROWS],
        unknown_item_count=len(taste_ids) - len(known),
    )


_NOBODY_IN_PARTICULAR = Person()


def _event_columns(rows: Mapping[str, int], events: Sequence[TasteEvent]) -> HistoryColumns:
    known = [event for event in events if rows[event.item_id] >= 0][-HISTORY_LENGTH:]
    if not known:
        return NO_HISTORY
    item_ids, actions, values, times_seconds = zip(*known, strict=True)
    return HistoryColumns(
        rows=[rows[item_id] for item_id in item_ids],
        actions=actions,
        # NaN for none; a value that would reach the stages as infinite, which they refuse, counts as none.
        values=[value if value is not None and -MAX_VALUE <= value <= MAX_VALUE else math.nan for value in values],
        times_seconds=times_seconds,
    )
