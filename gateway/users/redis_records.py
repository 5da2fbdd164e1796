"""How events are written in Redis: texts in a row between two bytes that occur in no UTF-8.

A record is ``0xFF field 0xFE field …``, and a person's records stand one after the other, the newest last. Nothing
needs to be escaped, splitting is one call into C, and Redis's scripts can look for a name and cut the oldest off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

RECORD = b"\xff"
FIELD = b"\xfe"

_ITEM = re.compile(rb"\xff([^\xfe\xff]*)\xfe")

Columns = tuple[str, str, float | None, int]
"""Item, action, value and time in Unix seconds; as twostage's taste reads events."""


def event_record(item_id: str, action: str, value: float | None, time_seconds: int) -> bytes:
    """Writes what recommendations read of an event; a value that is not a number counts as none."""
    # repr gives the shortest text that reads back as the same number.
    shown = "" if value is None or value != value else repr(float(value)).removesuffix(".0")  # noqa: PLR0124
    return b"".join(
        (RECORD, item_id.encode(), FIELD, action.encode(), FIELD, shown.encode(), FIELD, b"%d" % time_seconds)
    )


def name_record(event_id: str, request_id: str) -> bytes:
    """Writes what an event is known by."""
    return b"".join((RECORD, event_id.encode(), FIELD, request_id.encode()))


def newest_first(records: bytes, count: int) -> list[bytes]:
    """The newest records, at most ``count`` of them, without the byte that begins each."""
    if not records or count <= 0:
        return []
    parts = records.rsplit(RECORD, count)
    # What stands before the first of them is empty, or the older ones.
    del parts[0]
    parts.reverse()
    return parts


def read_events(records: Iterable[bytes], unreadable: list[int]) -> Iterator[Columns]:
    """Reads events; what is none is left out and counted in ``unreadable[0]``."""
    for record in records:
        try:
            item_id, action, value, time_seconds = record.split(FIELD)
            event = (item_id.decode(), action.decode(), float(value) if value else None, int(time_seconds))
        except ValueError:
            unreadable[0] += 1
        else:
            yield event


def read_names(records: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Reads event ids and request ids; empty ones stand for what is none."""
    for record in records:
        event_id, _, request_id = record.partition(FIELD)
        try:
            yield event_id.decode(), request_id.decode()
        except UnicodeDecodeError:
            yield "", ""


def read_items(records: bytes, unreadable: list[int]) -> list[str]:
    """The distinct items of records in one piece, the newest first; what is no text is counted."""
    found = _ITEM.findall(records)
    found.reverse()
    items: list[str] = []
    for item_id in dict.fromkeys(found):
        try:
            items.append(item_id.decode())
        except UnicodeDecodeError:
            unreadable[0] += 1
    return items


def newest_piece(records: bytes, count: int) -> bytes:
    """The newest ``count`` records in one piece."""
    if records.count(RECORD) <= count:
        return records
    return RECORD + RECORD.join(records.rsplit(RECORD, count)[1:])
