"""What an import of histories needs of the place that it fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twostage.bundle.histories import UserHistory


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import has come.

    Args:
        people_count: People who are done.
        event_count: Events that were stored for them.
        finished: True when that was all.
    """

    people_count: int = 0
    event_count: int = 0
    finished: bool = False


class ImportTarget(Protocol):
    """A user store as an import sees it.

    Attributes:
        people_per_write: How many people to write at a time: few enough that what gateways do gets in between.
    """

    people_per_write: int

    def progress(self, fingerprint: str) -> ImportProgress:
        """How far the import of these histories has come; nothing when it has not begun.

        Raises:
            UserStoreUnavailable: The store cannot be read.
        """

    def write(self, fingerprint: str, done: ImportProgress, people: Sequence[UserHistory]) -> ImportProgress:
        """Stores people's histories before what they did since, in place of those of an earlier import, all or none.

        Those who were forgotten are left out, and so are the oldest events of those who have more than a store keeps.

        Args:
            fingerprint: Of the histories.
            done: How far the import has come.
            people: The next ones.

        Returns:
            How far it has come now.

        Raises:
            UserStoreUnavailable: The store cannot be written, or another import came first.
        """

    def finish(self, fingerprint: str, done: ImportProgress) -> None:
        """Notes that an import is whole.

        Raises:
            UserStoreUnavailable: The store cannot be written.
        """

    def close(self) -> None:
        """Releases what it holds."""
