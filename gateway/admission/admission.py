"""All of admission, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from gateway.admission.doorstep import Doorstep
from gateway.admission.gate import AdmissionGate, costs
from gateway.admission.known_priorities import KnownPriorities
from gateway.admission.lane import Lane
from gateway.admission.limit import FixedLimit, GradientLimit, LimitPolicy
from gateway.admission.metrics import AdmissionMetrics
from gateway.admission.queue import WaitingRoom
from gateway.admission.token_buckets import TokenBuckets
from gateway.admission.workers import CountingPool
from twostage.rpc.caller import DEFAULT_PRIORITY

PEOPLE_CONCURRENCY = 8
"""So many requests read or write the user store at once; one file takes one writer at a time anyway."""
PEOPLE_WAITING_COUNT = 64
PEOPLE_WAIT_SHARE = 0.5
"""Events may wait longer than questions: nobody looks at a page that waits for them."""
SPARE_THREAD_COUNT = 16
"""Threads for calls that are about to be let in, made to wait or refused."""
_LEAST_CONCURRENCY = 4
_START_PART = 4


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """How much is let in.

    Args:
        max_concurrency: So many questions are worked on at once at most; the limit moves below it.
        max_waiting: So many questions wait at most.
        max_wait_share: The part of its caller's time that a question may wait, 0..1.
    """

    max_concurrency: int = 64
    max_waiting: int = 64
    max_wait_share: float = 0.25

    @property
    def thread_count(self) -> int:
        """How many threads there must be so that whoever waits takes none from the others."""
        people_count = PEOPLE_CONCURRENCY + PEOPLE_WAITING_COUNT
        return self.max_concurrency + self.max_waiting + people_count + SPARE_THREAD_COUNT

    def limit_policy(self) -> LimitPolicy:
        """How the limit on questions moves."""
        most = self.max_concurrency
        least = min(_LEAST_CONCURRENCY, most)
        return LimitPolicy(least=least, most=most, start=max(least, most // _START_PART))


class Admission:
    """What a server needs to admit calls.

    Args:
        policy: How much is let in.
        registry: Where the metrics are registered.
        default_seconds: What a caller that sets no deadline is taken to wait.
        longest_seconds: Callers who wait longer are answered within this.
        highest_priority: The highest that any caller has.
        counter: Gives, for ``package.Service/Method``, what is called for every refusal that no other interceptor sees.

    Attributes:
        gate: To be asked after the one that says who calls.
        known: The callers' priorities as far as they are known.
        doorstep: To be asked before all other interceptors.
        workers: The threads that run requests.
    """

    def __init__(
        self,
        policy: AdmissionPolicy,
        registry: CollectorRegistry,
        *,
        default_seconds: float,
        longest_seconds: float,
        highest_priority: int = DEFAULT_PRIORITY,
        counter: Callable[[str], Callable[[], None]] = lambda _: lambda: None,
    ) -> None:
        metrics = AdmissionMetrics(registry)
        answers = Lane(
            "answers",
            GradientLimit(policy.limit_policy()),
            WaitingRoom(policy.max_waiting),
            wait_share=policy.max_wait_share,
            on_change=metrics.show,
        )
        people = Lane(
            "people",
            FixedLimit(PEOPLE_CONCURRENCY),
            WaitingRoom(PEOPLE_WAITING_COUNT),
            wait_share=PEOPLE_WAIT_SHARE,
            on_change=metrics.show,
        )
        for lane in (answers, people):
            metrics.show(lane)
        self.known = KnownPriorities(highest_priority)
        self.gate = AdmissionGate(
            costs(answers, people),
            TokenBuckets(),
            metrics,
            default_seconds=default_seconds,
            longest_seconds=longest_seconds,
            known=self.known,
        )
        self.workers = CountingPool(policy.thread_count, "worker")
        self.doorstep = Doorstep(self.gate, self.workers, self.known, metrics, counter=counter)

    def close(self) -> None:
        """Ends the threads that the server does not end; the server must have stopped."""
        self.doorstep.close()
