"""One thing that a person did, as it is logged."""

from __future__ import annotations

from typing import NamedTuple


class LoggedEvent(NamedTuple):
    """An event that the gateway accepted; the fields are the log's columns, in their order.

    Args:
        event_key: The keyed hash of its id: one that was sent twice may be logged twice, with the same key. Empty when
            the log is unkeyed.
        request_id: The answer that showed the item; empty when there was none.
        user_key: Whose it is, as in :class:`twostage.impressions.impression.Impression`.
        item_id: With what.
        action: What, a recorded action.
        value: E.g. stars; None where the action has none.
        time: When, Unix microseconds.
    """

    event_key: str
    request_id: str
    user_key: str
    item_id: str
    action: str
    value: float | None
    time: int
