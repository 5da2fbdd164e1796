"""One kind of work: as many at once as its limit allows, the others in its waiting room."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from gateway.admission.limit import Limit
from gateway.admission.queue import Pace, Reason, Waiter, WaitingRoom

LEAST_RETRY_SECONDS = 0.05
MOST_RETRY_SECONDS = 5.0
# Of how long the refusals are counted that tell how far the demand is above what can be done.
_PRESSURE_SECONDS = 1.0


class Refused(Exception):
    """A request gets no place.

    Args:
        reason: Why.
        retry_after_seconds: When its caller should try again, without jitter.
    """

    def __init__(self, reason: Reason, retry_after_seconds: float) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class Lane:
    """Places for one kind of work; safe for threads, and a thread that waits holds nothing.

    Args:
        name: For metrics, e.g. ``answers``.
        limit: How many places there are.
        room: Where those wait who get none at once.
        wait_share: The part of a caller's remaining time that it may wait, 0..1.
        clock: Seconds that only grow.
        on_change: Told of the lane after any of its figures changed, under its lock; for metrics.

    Attributes:
        in_flight_count: How many places are taken.
    """

    def __init__(
        self,
        name: str,
        limit: Limit,
        room: WaitingRoom,
        *,
        wait_share: float,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Lane], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.limit = limit
        self.room = room
        self.in_flight_count = 0
        self._wait_share = wait_share
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._counted_since = clock()
        self._entered_count = 0.0
        self._refused_count = 0.0

    @property
    def pace(self) -> Pace:
        """How fast places become free."""
        return Pace(max(1, self.limit.value), self.limit.service_seconds)

    @property
    def refuses_up_to(self) -> int:
        """Newcomers of this priority or a lower one were refused now; -1 when they were not.

        It may be read at any time from any thread, and costs no lock.
        """
        return self.room.refuses_up_to if self.in_flight_count >= self.limit.value else -1

    @property
    def free_count(self) -> int:
        """How many more may come, to work or to wait; like `refuses_up_to` it costs no lock."""
        return max(0, self.limit.value - self.in_flight_count) + self.room.free_count

    def enter(self, priority: int, seconds_left: Callable[[], float]) -> int:
        """Takes a place, at once or after waiting.

        Args:
            priority: The higher the sooner.
            seconds_left: Asked how long the caller still waits, when there is no place at once.

        Returns:
            How many places are taken, this one included.

        Raises:
            Refused: There is none in time.
        """
        with self._lock:
            if self.in_flight_count < self.limit.value and not len(self.room):
                self._entered_count += 1
                self.in_flight_count += 1
                self._on_change(self)
                return self.in_flight_count
            left = seconds_left()
            now = self._clock()
            pace = self.pace
            wait = min(left * self._wait_share, left - pace.service_seconds)
            waiter = Waiter(priority, now + left, now + wait)
            reason, displaced = self.room.offer(waiter, now, pace)
            self._wake(displaced)
            if reason is not None:
                raise self._refused(reason)
            # The room may be occupied by those whom a limit that just rose lets in.
            self._fill()
        if not waiter.turn.acquire(timeout=max(0.0, wait)):
            with self._lock:
                if self.room.remove(waiter, self._clock(), self.pace):
                    raise self._refused(Reason.WAITED)
            # Its turn came in the last moment: decided, whichever way.
        if waiter.refused is not None:
            with self._lock:
                raise self._refused(waiter.refused)
        return self.in_flight_count

    def leave(self, kind: str, seconds: float, in_flight: int, *, answered: bool, whole: bool) -> None:
        """Gives the place back, to the next who waits if there is one.

        Args:
            kind: What was asked.
            seconds: How long it was worked on.
            in_flight: What `enter` returned.
            answered: False where the request came to nothing, e.g. because it was wrong: it tells nothing then.
            whole: False where less than the whole work was done.
        """
        with self._lock:
            self.in_flight_count -= 1
            if answered:
                self.limit.note(kind, seconds, in_flight, whole=whole)
            if len(self.room):
                self._fill()
            self._on_change(self)

    def note_refusals(self, count: int) -> float:
        """Counts requests that were refused before they came here; returns when such callers should try again."""
        with self._lock:
            self._refused_count += count - 1
            return self._refused(Reason.FULL).retry_after_seconds

    def _fill(self) -> None:
        while self.in_flight_count < self.limit.value and len(self.room):
            found, refused = self.room.next(self._clock(), self.pace)
            self._wake(refused)
            if found is not None:
                self._entered_count += 1
                self.in_flight_count += 1
                found.turn.release()
        self._on_change(self)

    @staticmethod
    def _wake(waiters: list[Waiter]) -> None:
        for waiter in waiters:
            waiter.turn.release()

    def _refused(self, reason: Reason) -> Refused:
        """What a refused caller is told: the time to work off the queue, the longer the more are refused."""
        self._refused_count += 1
        now = self._clock()
        age = now - self._counted_since
        if age > _PRESSURE_SECONDS:
            # What is older counts half, a quarter, … as the seconds pass.
            kept = 0.5 ** min(age / _PRESSURE_SECONDS, 60.0)
            self._refused_count *= kept
            self._entered_count *= kept
            self._counted_since = now
        excess = self._refused_count / max(1.0, self._entered_count)
        queue_seconds = max(LEAST_RETRY_SECONDS, self.pace.wait_seconds(len(self.room)))
        self._on_change(self)
        return Refused(reason, min(MOST_RETRY_SECONDS, queue_seconds * (1.0 + excess)))


def with_jitter(seconds: float) -> float:
    """A time from three quarters to five quarters of one, so that those refused together do not come back together."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
