"""The generations that were to be served and are not, and when each may be tried again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

MAX_REFUSALS = 10
"""How many are remembered: those of the highest numbers."""

RETRY_SECONDS = (5.0, 60.0)
"""After a failure that may pass: how long until the first new try, and at most; each wait is twice the one before."""


@dataclass(frozen=True)
class Refusal:
    """A generation that is not served.

    Args:
        number: Which.
        reason: Why, in one line.
        stamp: What its manifest looked like, to notice that it was replaced.
        attempt_count: How often it was tried in a row.
        retry_at: By the clock, when it may be tried again though nothing changed; None for never.
    """

    number: int
    reason: str
    stamp: Hashable
    attempt_count: int = 1
    retry_at: float | None = None


class Refusals:
    """Remembers refusals; written by one thread, read by any.

    Args:
        clock: Tells the time in seconds.
        retry_seconds: As :data:`RETRY_SECONDS`.
    """

    def __init__(self, clock: Callable[[], float], retry_seconds: tuple[float, float] = RETRY_SECONDS) -> None:
        self._clock = clock
        self._first_seconds, self._most_seconds = retry_seconds
        self._newest_first: tuple[Refusal, ...] = ()

    @property
    def newest_first(self) -> tuple[Refusal, ...]:
        """All of them, the highest number first."""
        return self._newest_first

    def get(self, number: int) -> Refusal | None:
        """The refusal of a generation, if any."""
        return next((refusal for refusal in self._newest_first if refusal.number == number), None)

    def may_try(self, number: int, stamp: Hashable) -> bool:
        """Says whether a generation may be prepared now: it was not refused, was replaced, or its time has come."""
        refusal = self.get(number)
        if refusal is None or refusal.stamp != stamp:
            return True
        return refusal.retry_at is not None and self._clock() >= refusal.retry_at

    def add(self, number: int, reason: str, stamp: Hashable, *, may_pass: bool) -> bool:
        """Remembers that a generation was refused.

        Args:
            number: Which.
            reason: Why.
            stamp: What its manifest looks like.
            may_pass: True when the same generation may well be served later, e.g. once a server is there.

        Returns:
            True when that is news: it was not refused before, or for another reason.
        """
        before = self.get(number)
        attempt_count = 1 if before is None or before.stamp != stamp else before.attempt_count + 1
        retry_at = None
        if may_pass:
            wait_seconds = self._first_seconds * 2.0 ** min(attempt_count - 1, 30)
            retry_at = self._clock() + min(wait_seconds, self._most_seconds)
        self._keep(Refusal(number, reason, stamp, attempt_count, retry_at))
        return before is None or before.reason != reason

    def forgive(self, number: int) -> None:
        """Lets a generation be tried again at once; it stays listed until it is served."""
        refusal = self.get(number)
        if refusal is not None:
            self._keep(replace(refusal, attempt_count=0, retry_at=self._clock()))

    def remove(self, number: int) -> None:
        """Forgets a generation that is served now."""
        if self.get(number) is not None:
            self._newest_first = tuple(refusal for refusal in self._newest_first if refusal.number != number)

    def _keep(self, refusal: Refusal) -> None:
        others = [other for other in self._newest_first if other.number != refusal.number]
        ordered = sorted([*others, refusal], key=lambda one: one.number, reverse=True)
        self._newest_first = tuple(ordered[:MAX_REFUSALS])
