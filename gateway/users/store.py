"""What the gateway needs of a user store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from twostage.features.history import HISTORY_LENGTH

MAX_SEEN_COUNT = 10_000
"""How many of a person's newest events decide what they have seen."""


class UserStoreUnavailable(Exception):
    """The store cannot be read or written now; the message is one clear line without anything about people."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One thing that a person did, to be stored.

    Args:
        event_id: Names the event; a second one with the same name changes nothing.
        user_id: Who.
        item_id: With what.
        action: A recorded action's name.
        value: E.g. stars, a finite number that a 32-bit float holds; None where the action has none.
        time_seconds: Unix seconds.
        request_id: The answer that showed the item, empty when there was none.
    """

    event_id: str
    user_id: str
    item_id: str
    action: str
    value: float | None
    time_seconds: int
    request_id: str = ""


class UserStore(Protocol):
    """People and what they did, in the order of its arrival; safe to use from several threads."""

    def read(
        self,
        user_id: str,
        rule: TasteRule,
        *,
        taste_count: int = HISTORY_LENGTH,
        seen_count: int = MAX_SEEN_COUNT,
    ) -> StoredUser | None:
        """Reads what is known of a person.

        Args:
            user_id: Who.
            rule: Which events count as taste.
            taste_count: The most taste events to return, the newest.
            seen_count: How many of the newest events are looked at, for taste and for what was seen; 1 or more.

        Returns:
            None when nothing was ever recorded of them. Whatever :meth:`record` returned from is included.

        Raises:
            UserStoreUnavailable: The store cannot be read.
        """

    def record(self, events: Sequence[NewEvent]) -> int:
        """Stores events, all or none.

        Returns:
            How many were new; the others had been stored before.

        Raises:
            UserStoreUnavailable: The store cannot be written; nothing was stored.
        """

    def forget(self, user_id: str) -> bool:
        """Removes a person and everything they did.

        Returns:
            False when they were unknown.

        Raises:
            UserStoreUnavailable: The store cannot be written; nothing was removed.
        """

    def close(self) -> None:
        """Releases what the store holds; it is not used afterwards."""
