"""What the gateway needs of a user store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from twostage.features.history import HISTORY_LENGTH

MAX_KEPT_EVENT_COUNT = 10_000
"""How many events of a person are kept, the newest; older ones go, those of an import first."""

MAX_SEEN_COUNT = MAX_KEPT_EVENT_COUNT
"""How many of a person's newest events decide what they have seen."""

SECONDS_PER_DAY = 86_400


class UserStoreUnavailable(Exception):
    """The store cannot be read or written now; the message is one clear line without anything about people."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One thing that a person did, to be stored.

    Args:
        event_id: Names the event among the person's; a second one with the same name changes nothing.
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


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """One thing that a person did, as it is stored.

    Args:
        event_id: As recorded; empty for what came with an import.
        item_id: With what.
        action: A recorded action's name.
        value: E.g. stars; None where the action has none.
        time_seconds: Unix seconds, 0 when unknown.
        request_id: The answer that showed the item, empty when there was none.
    """

    event_id: str
    item_id: str
    action: str
    value: float | None
    time_seconds: int
    request_id: str


@dataclass(frozen=True, slots=True)
class UserRecord:
    """All that is stored of a person.

    Args:
        event_count: How many events are stored.
        events: The newest of them, the newest first.
        expires_seconds: Unix seconds when the store forgets them unless something new is recorded; None for never.
    """

    event_count: int
    events: Sequence[KeptEvent]
    expires_seconds: float | None = None


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
        """Reads what recommendations need of a person.

        Args:
            user_id: Who.
            rule: Which events count as taste.
            taste_count: The most taste events to return, the newest.
            seen_count: How many of the newest events are looked at, for taste and for what was seen; 1 or more.

        Returns:
            None when nothing is stored of them. Whatever :meth:`record` returned from is included.

        Raises:
            UserStoreUnavailable: The store cannot be read.
        """

    def record(self, events: Sequence[NewEvent]) -> int:
        """Stores events, all or none, and puts off the day on which these people are forgotten.

        Returns:
            How many were new; the others had been stored before. A repetition after a lost connection may say 0 of
            what the first try stored.

        Raises:
            UserStoreUnavailable: The store cannot be written, or did not say in time that it did: the same events may
                be recorded again.
        """

    def describe(self, user_id: str, max_event_count: int) -> UserRecord | None:
        """Reads all that is stored of a person.

        Args:
            user_id: Who.
            max_event_count: The most events to return, 0 or more.

        Returns:
            None when nothing is stored of them.

        Raises:
            UserStoreUnavailable: The store cannot be read.
        """

    def forget(self, user_id: str) -> int | None:
        """Removes a person and everything they did, the names of their events too; no later import brings them back.

        Returns:
            How many events were removed; None when they were unknown.

        Raises:
            UserStoreUnavailable: The store cannot be written, or did not say in time that it did.
        """

    def close(self) -> None:
        """Releases what the store holds; it is not used afterwards."""
