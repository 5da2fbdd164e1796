"""The waiting room: who waits for a place, who is next, and who is refused instead.

The next is the one of the highest priority, among those the one whose deadline is the earliest, among those the one
that came first. The room is a buffer for bursts, not a queue to live in: once it has not been empty for a while it
*stands*, and a standing queue only makes everybody late. It then holds no more than are worked on, that is about one
service time, after the rule of CoDel (K. Nichols, V. Jacobson, "Controlling queue delay", ACM Queue 10(5), 2012) in the
form for servers (B. Maurer, "Fail at scale", ACM Queue 13(8), 2015): short waits while the queue has stood for 100 ms,
long ones when it was empty in that time.
"""

from __future__ import annotations

import threading
from bisect import insort
from enum import Enum
from typing import NamedTuple

STANDING_SECONDS = 0.1
"""A room that has not been empty for so long stands."""
STANDING_WAIT_SECONDS = 0.1
"""So long the last in a room that stands may have to wait."""
_PATIENCE_SECONDS = 1.0


class Reason(Enum):
    """Why a request was refused."""

    FULL = "full"
    """It came when the room was full of requests that go before it."""
    DISPLACED = "displaced"
    """It waited, and one of higher priority needed its place or the room shrank."""
    HOPELESS = "hopeless"
    """Its turn would come too late for it."""
    WAITED = "waited"
    """It waited as long as it may."""
    RATE = "rate"
    """Its caller asked more often than it may."""
    NO_THREAD = "no_thread"
    """Not even a thread was left to look at it."""


class Waiter:
    """A request that waits for a place.

    Args:
        priority: The higher the sooner.
        deadline: When its caller gives up.
        leave_by: When it is refused at the latest.

    Attributes:
        turn: Held until it is decided whether the request gets a place; released then.
        refused: Why it did not get one; None when it did or it is not decided yet.
        order: Its rank in the room, the smallest first; the room's.
    """

    __slots__ = ("deadline", "leave_by", "order", "priority", "refused", "turn")

    def __init__(self, priority: int, deadline: float, leave_by: float) -> None:
        self.priority = priority
        self.deadline = deadline
        self.leave_by = leave_by
        self.refused: Reason | None = None
        self.order = (-priority, deadline, 0)
        self.turn = threading.Lock()
        self.turn.acquire()

    def __lt__(self, other: Waiter) -> bool:
        return self.order < other.order


class Pace(NamedTuple):
    """How fast places become free.

    Args:
        limit: How many are worked on at once.
        service_seconds: How long one is worked on; 0 while unknown.
    """

    limit: int
    service_seconds: float

    def wait_seconds(self, ahead_count: int) -> float:
        """How long one waits that has so many before it."""
        return (ahead_count + 1) * self.service_seconds / self.limit


class WaitingRoom:
    """Those who wait, in order; not safe for threads by itself.

    It is a buffer again once it has been empty for as long as it may be full.

    Args:
        capacity: How many may wait at most; 0 for nobody.
        standing_seconds: A room that has not been empty for so long stands.

    Attributes:
        refuses_up_to: Newcomers of this priority or a lower one were refused now; -1 when there is room.
        lowest_priority: Of those who wait; -1 when nobody does.
        free_count: How many more may wait now.

    The attributes may be read at any time from any thread.
    """

    def __init__(self, capacity: int, standing_seconds: float = STANDING_SECONDS) -> None:
        self.refuses_up_to = -1 if capacity else 1_000
        self.lowest_priority = -1
        self.free_count = capacity
        self._capacity = capacity
        self._standing_seconds = standing_seconds
        self._waiters: list[Waiter] = []
        self._occupied_since = 0.0
        self._emptied_at = float("-inf")
        self._arrival = 0
        # How long the most patient newcomer of this second would have waited, and of the second before.
        self._patience = (0.0, 0.0)
        self._patience_since = 0.0

    def __len__(self) -> int:
        return len(self._waiters)

    def capacity(self, now: float, pace: Pace) -> int:
        """How many may wait now: once the room stands no more than are worked on, or have their turn soon."""
        if not self._waiters or now - self._occupied_since <= self._standing_seconds:
            return self._capacity
        soon = int(STANDING_WAIT_SECONDS * pace.limit / pace.service_seconds) if pace.service_seconds > 0 else 0
        return min(self._capacity, max(pace.limit, soon))

    def _place_count(self, now: float, pace: Pace) -> int:
        """How many may wait: `capacity`, and no more than the most patient would wait behind, but one."""
        capacity = self.capacity(now, pace)
        if pace.service_seconds <= 0:
            return capacity
        return min(capacity, max(1, int(max(self._patience) * pace.limit / pace.service_seconds)))

    def _note_patience(self, seconds: float, now: float) -> None:
        this, before = self._patience
        if now - self._patience_since > _PATIENCE_SECONDS:
            this, before = 0.0, this
            self._patience_since = now
        self._patience = (max(this, seconds), before)

    def offer(self, waiter: Waiter, now: float, pace: Pace) -> tuple[Reason | None, list[Waiter]]:
        """Lets a request wait, or not.

        Args:
            waiter: The newcomer.
            now: The present moment.
            pace: How fast places become free.

        Returns:
            Why the newcomer is refused, None when it waits; and those that are refused in its favour or because the
            room has become smaller, which have left the room.
        """
        waiters = self._waiters
        self._note_patience(waiter.leave_by - now, now)
        displaced = self._shrink(self.capacity(now, pace))
        places = self._place_count(now, pace)
        reason: Reason | None = None
        if len(waiters) >= places and (not waiters or waiters[-1].priority >= waiter.priority):
            reason = Reason.FULL
        else:
            self._arrival += 1
            waiter.order = (-waiter.priority, waiter.deadline, self._arrival)
            ahead_count = sum(1 for other in waiters if other < waiter)
            if now + pace.wait_seconds(ahead_count) > waiter.leave_by:
                reason = Reason.HOPELESS
            else:
                if not waiters and now - self._emptied_at > self._standing_seconds:
                    # Empty for a moment between two of a crowd is not empty: it would be let in and put out in turns.
                    self._occupied_since = now
                if len(waiters) >= places:
                    displaced.append(self._drop_last())
                insort(waiters, waiter)
        self._tell(places)
        return reason, displaced

    def next(self, now: float, pace: Pace) -> tuple[Waiter | None, list[Waiter]]:
        """Who is next, and those who cannot be served in time or have no room any more; all have left the room."""
        waiters = self._waiters
        refused = self._shrink(self.capacity(now, pace))
        found: Waiter | None = None
        while waiters and found is None:
            first = waiters.pop(0)
            if first.deadline - pace.service_seconds < now:
                first.refused = Reason.HOPELESS
                refused.append(first)
            else:
                found = first
        if not waiters:
            self._emptied_at = now
        self._tell(self._place_count(now, pace))
        return found, refused

    def remove(self, waiter: Waiter, now: float, pace: Pace) -> bool:
        """Takes one out that waits no longer; says whether it was still there."""
        # By identity: the order of two is never equal, but the list compares with ==.
        for position, other in enumerate(self._waiters):
            if other is waiter:
                del self._waiters[position]
                if not self._waiters:
                    self._emptied_at = now
                self._tell(self._place_count(now, pace))
                return True
        return False

    def _shrink(self, capacity: int) -> list[Waiter]:
        return [self._drop_last() for _ in range(len(self._waiters) - capacity)]

    def _drop_last(self) -> Waiter:
        last = self._waiters.pop()
        last.refused = Reason.DISPLACED
        return last

    def _tell(self, places: int) -> None:
        waiters = self._waiters
        self.free_count = max(0, places - len(waiters))
        self.lowest_priority = waiters[-1].priority if waiters else -1
        if not self._capacity:
            self.refuses_up_to = 1_000
        else:
            self.refuses_up_to = -1 if self.free_count else self.lowest_priority
