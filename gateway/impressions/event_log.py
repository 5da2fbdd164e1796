"""What the servicer needs of a log of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.users.store import NewEvent


class EventLog(Protocol):
    """Keeps records of events."""

    def note(self, events: Sequence[NewEvent]) -> None:
        """Takes events that were stored; never waits and never raises: what cannot be taken is counted as dropped."""
