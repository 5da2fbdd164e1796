"""How much work a model server is given at the same time, counting what nobody waits for any more.

A model server computes an expired request to its end. A caller whose time is over goes on to its next request, so that
a bound on the calls waited for would let the expired ones pile up in the server without limit: its queue grows, every
answer comes late, and it never catches up. The place of a call that was given up is therefore kept until the server can
be done with it:

- the same model answers a call that was sent after it: the server has come that far;
- the connection broke: what a server was computing is gone with it;
- neither came: the server may be hung, or every caller may be less patient than it is fast. Then the places come back
  one after another, the first after the time that the model usually takes or that was waited in vain, whichever is
  longer, and each further one after twice as long, up to :data:`MAX_RELEASE_SECONDS`. Each lets one call through, which
  tries the server out; its answer gives all the others back by the first rule.

A server that hangs for a minute is thus sent the bound and about twenty calls more, however many are asked of it.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_RELEASE_SECONDS = 5.0
"""The longest wait between two places that come back without an answer."""

_LEAST_RELEASE_SECONDS = 0.05
# How fast the memory of a slow answer fades: by half in seven answers.
_MEMORY = 0.9


@dataclass
class _Model:
    """What is known of one model.

    Args:
        usual_seconds: What its slowest answers take, of late.
        abandoned: When the calls that were given up were sent, the oldest first.
    """

    usual_seconds: float = 0.0
    abandoned: list[float] = field(default_factory=list)


class InFlight:
    """The places for calls to one model server; safe to use from many threads.

    Each call takes a place with :meth:`enter` and gives it back with exactly one of the other methods.

    Args:
        max_count: How many places there are, 1 or more.
        clock: Seconds that never go back.
    """

    def __init__(self, max_count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free_count = max_count
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[str, _Model] = {}
        # When the next place comes back without an answer, and how long after the one before; 0 while none is owed.
        self._release_at = 0.0
        self._release_seconds = 0.0

    @property
    def abandoned_count(self) -> int:
        """How many places are kept for calls that nobody waits for any more."""
        with self._lock:
            return sum(len(model.abandoned) for model in self._models.values())

    def enter(self) -> float | None:
        """Takes a place.

        Returns:
            When the call is sent, to be handed back; None when there is no place.
        """
        now = self._clock()
        with self._lock:
            if not self._free_count and not self._release_one(now):
                return None
            self._free_count -= 1
        return now

    def answered(self, name: str, sent: float) -> None:
        """Gives back the place of a call that the model answered, and those given up that the model passed meanwhile.

        Args:
            name: The model's name.
            sent: Of :meth:`enter`.
        """
        now = self._clock()
        with self._lock:
            self._free_count += 1
            model = self._models.setdefault(name, _Model())
            model.usual_seconds = max(now - sent, model.usual_seconds * _MEMORY)
            passed = bisect_left(model.abandoned, sent)
            del model.abandoned[:passed]
            self._free_count += passed
            # The server lives: what other models owe comes back at the pace of the beginning.
            if any(other.abandoned for other in self._models.values()):
                self._release_seconds = min(self._release_seconds, max(model.usual_seconds, _LEAST_RELEASE_SECONDS))
                self._release_at = min(self._release_at, now + self._release_seconds)
            else:
                self._release_seconds = 0.0

    def refused(self) -> None:
        """Gives back the place of a call that was never sent, or that the server did not compute."""
        with self._lock:
            self._free_count += 1

    def broken(self) -> None:
        """Gives back the place of a call whose connection broke or could not be made, and those of all given up."""
        with self._lock:
            self._free_count += 1
            for model in self._models.values():
                self._free_count += len(model.abandoned)
                model.abandoned.clear()
            self._release_seconds = 0.0

    def abandoned(self, name: str, sent: float) -> None:
        """Keeps the place of a call that nobody waits for any more.

        Args:
            name: The model's name.
            sent: Of :meth:`enter`.
        """
        now = self._clock()
        with self._lock:
            model = self._models.setdefault(name, _Model())
            if not self._release_seconds:
                longest = max(now - sent, model.usual_seconds, _LEAST_RELEASE_SECONDS)
                self._release_seconds = min(longest, MAX_RELEASE_SECONDS)
                self._release_at = now + self._release_seconds
            insort(model.abandoned, sent)

    def _release_one(self, now: float) -> bool:
        """Gives back the place of the call that was given up longest ago, when its time has come."""
        waiting = [model for model in self._models.values() if model.abandoned]
        if not waiting or now < self._release_at:
            return False
        min(waiting, key=lambda model: model.abandoned[0]).abandoned.pop(0)
        self._free_count += 1
        self._release_seconds = min(2 * self._release_seconds, MAX_RELEASE_SECONDS)
        self._release_at = now + self._release_seconds
        return True
