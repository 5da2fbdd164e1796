"""The gate before the gateway's methods: their costs, the clients' rates, and places."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.admission.known_priorities import KnownPriorities
from gateway.admission.lane import LEAST_RETRY_SECONDS, Lane, Refused, with_jitter
from gateway.admission.metrics import AdmissionMetrics
from gateway.admission.queue import Reason
from gateway.admission.token_buckets import TokenBuckets
from twostage.errors import Overloaded
from twostage.rpc import caller, request_event
from twostage.rpc.deadlines import remaining_seconds
from twostage.rpc.gates import Leave

PREFIX = "/twostage.v1.RecommendationService/"
UNLIMITED = ("GetStatus",)
"""Methods that are never refused for want of room: who wonders what goes on must get an answer."""
MOST_TOLD_SECONDS = 86_400.0
"""A client above its rate is told to come back in a day at the latest: RetryInfo cannot say any time."""
_LOWERED = 5
_WHOLE_RUNG = "FULL"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a method costs.

    Args:
        lane: Where it takes a place.
        lowered: By how much its caller's priority is lowered, not below 0.
        by_rung: True where only answers with a rung tell how long the work takes: a wrong request takes no time.
    """

    lane: Lane
    lowered: int = 0
    by_rung: bool = True


def costs(answers: Lane, people: Lane) -> dict[str, Cost]:
    """The methods' costs by full name; those in `UNLIMITED` have none.

    Recommend and SimilarItems share places, for both go through the stages; so does Explain, behind everybody else, for
    it is asked by people who look into things and not by those who wait for a page. What reads and writes the user
    store has places of its own: a flood of questions must not cost events, nor the other way round.
    """
    return {
        f"{PREFIX}Recommend": Cost(answers),
        f"{PREFIX}SimilarItems": Cost(answers),
        f"{PREFIX}Explain": Cost(answers, lowered=_LOWERED),
        f"{PREFIX}RecordEvents": Cost(people, by_rung=False),
        f"{PREFIX}GetUser": Cost(people, by_rung=False),
        f"{PREFIX}DeleteUser": Cost(people, by_rung=False),
    }


class AdmissionGate:
    """Lets calls in as far as there is room: a `twostage.rpc.gates.Gate`, asked after the one that says who calls.

    Args:
        costs: By method; others pass.
        buckets: The clients' rates.
        metrics: Told of what is refused.
        default_seconds: What a caller that sets no deadline is taken to wait.
        longest_seconds: Callers who wait longer are answered within this.
        known: Remembers whose priority is which while there is no room; None remembers nothing.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        costs: Mapping[str, Cost],
        buckets: TokenBuckets,
        metrics: AdmissionMetrics,
        *,
        default_seconds: float = 1.0,
        longest_seconds: float = 2.0,
        known: KnownPriorities | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.costs = dict(costs)
        self._buckets = buckets
        self._metrics = metrics
        self._default_seconds = default_seconds
        self._longest_seconds = longest_seconds
        self._known = known
        self._clock = clock

    @property
    def lanes(self) -> Iterable[Lane]:
        """Every lane once."""
        return {cost.lane.name: cost.lane for cost in self.costs.values()}.values()

    def enter(self, method: str, context: Any) -> Leave | None:
        """Lets a call in, at once or after it waited; see `twostage.rpc.gates.Gate.enter`.

        Raises:
            Overloaded: There is no room, or the caller asks more often than it may.
            DeadlineSpent: The caller's time is over.
        """
        cost = self.costs.get(method)
        if cost is None:
            return None
        lane = cost.lane
        who = caller.current()
        priority = who.priority - cost.lowered if cost.lowered else who.priority
        if who.requests_per_second is not None and (wait := self._buckets.take(who)):
            seconds = min(max(wait, LEAST_RETRY_SECONDS), MOST_TOLD_SECONDS)
            raise self._overloaded(Refused(Reason.RATE, seconds), lane, who.priority)
        asked = self._clock()
        crowded = len(lane.room) > 0
        try:
            in_flight = lane.enter(max(priority, 0), partial(self._seconds_left, context))
        except Refused as refused:
            raise self._overloaded(refused, lane, who.priority) from None
        finally:
            if crowded and self._known is not None:
                self._known.note(context.invocation_metadata(), who.priority)
        began = self._clock()
        if began - asked > 1e-3:
            self._metrics.waited(lane, began - asked)
            request_event.attach(waited_ms=round((began - asked) * 1e3, 3))
        return partial(self._leave, cost, method, began, in_flight)

    def _leave(self, cost: Cost, method: str, began: float, in_flight: int) -> None:
        rung = request_event.fact("rung") if cost.by_rung else _WHOLE_RUNG
        seconds = self._clock() - began
        cost.lane.leave(method, seconds, in_flight, answered=rung is not None, whole=rung == _WHOLE_RUNG)

    def _seconds_left(self, context: Any) -> float:
        left = remaining_seconds(context, self._default_seconds, during="before there was room")
        return min(left, self._longest_seconds)

    def _overloaded(self, refused: Refused, lane: Lane, priority: int) -> Overloaded:
        self._metrics.refused(lane, refused.reason, priority)
        request_event.attach(refused_because=refused.reason.value, priority=priority)
        return Overloaded(with_jitter(refused.retry_after_seconds))
