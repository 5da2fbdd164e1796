"""What is known of a service that is asked: its replicas, how long they take, and what second attempts it gets."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc

from twostage.errors import NotReady
from twostage.latency import LatencyWindow
from twostage.rpc.channels import Replicas
from twostage.rpc.outliers import Outcome
from twostage.rpc.question import Question, status_of
from twostage.rpc.replica import Replica
from twostage.rpc.share_budget import ShareBudget

S = TypeVar("S")

# How these calls end says nothing of the replica: it has too much to do, or somebody lost interest.
_TELLING_NOTHING = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
# The call was not made. Nobody here cancels one that is waited for: a server that stops gave it up.
_WORTH_ANOTHER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# It worked and refused the request.
_REFUSING = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)
# Who was given less than this many times the p95 and let it pass was not silent, but had no time.
_SILENT_TIMES = 2.0


class CallWatcher(Protocol):
    """Is told of second attempts."""

    def hedged(self, outcome: str) -> None:
        """A hedge ``won``, ``lost``, or was ``refused`` by its budget."""

    def retried(self, outcome: str) -> None:
        """A retry was ``made``, or ``refused`` by its budget."""


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """When another replica is asked.

    Args:
        hedge_share: Hedges are at most this share of all requests, and a reserve of ten; 0.05 by default, 0 for none.
        retry_share: Likewise retries; 0.2 by default, 0 for none.
        hedge_least_seconds: Nobody is hedged before this, however fast the service is; 0.002 by default.
    """

    hedge_share: float = 0.05
    retry_share: float = 0.2
    hedge_least_seconds: float = 0.002


class AskedService(Generic[S]):
    """A service whose replicas are asked.

    Args:
        replicas: Whom to ask.
        latency: Where each call is recorded, with transport, and what hedges wait for; one of its own when unset.
        policy: When another replica is asked.
        watcher: Told of second attempts; nobody is when None.
    """

    def __init__(
        self,
        replicas: Replicas[S],
        latency: LatencyWindow | None = None,
        policy: CallPolicy | None = None,
        watcher: CallWatcher | None = None,
    ) -> None:
        self.replicas = replicas
        self.latency = latency if latency is not None else LatencyWindow()
        self.policy = policy if policy is not None else CallPolicy()
        self.watcher = watcher
        self.hedges = ShareBudget(self.policy.hedge_share)
        self.retries = ShareBudget(self.policy.retry_share)

    def first(self, question: Question, chosen: Replica[S] | None) -> Replica[S]:
        """Who is asked first, and waited for.

        Where that would be one that is on trial (`twostage.rpc.outliers`), it is asked beside another one: nobody waits
        for what will probably fail.

        Args:
            question: What is asked.
            chosen: Who was chosen before; None chooses now.

        Raises:
            NotReady: There is no replica.
        """
        replica = chosen if chosen is not None else self.replicas.pick(holding=question.holding)
        if not replica.aside:
            return replica
        try:
            other = self.replicas.pick(exclude=(replica,), holding=question.holding)
        except NotReady:
            return replica
        if other.aside or other.failing:
            return replica
        self._try(replica, question)
        return other

    def _try(self, replica: Replica[S], question: Question) -> None:
        """Asks one that is on trial; what it answers shows whether it works, and nothing else is done with it."""
        began = time.perf_counter()

        def on_end(call: Any) -> None:
            replica.end()
            seconds, code = time.perf_counter() - began, call.code()
            if code is grpc.StatusCode.OK:
                replica.note(Outcome.ANSWERED, seconds)
            else:
                self.note_failure(replica, code, seconds)

        replica.begin()
        try:
            call = question.method(replica.stub).future(question.message, timeout=max(question.deadline - began, 0.001))
        except BaseException:
            replica.end()
            raise
        call.add_done_callback(on_end)

    def may_retry(self, error: grpc.RpcError) -> bool:
        """Says whether a failure may be tried again, and if so takes it from the budget."""
        if status_of(error) not in _WORTH_ANOTHER:
            return False
        allowed = self.retries.take()
        if self.watcher is not None:
            self.watcher.retried("made" if allowed else "refused")
        return allowed

    def note_failure(self, replica: Replica[S], code: grpc.StatusCode, seconds: float) -> None:
        """Takes note of what a failure tells of a replica."""
        if code in _TELLING_NOTHING:
            return
        if code in _REFUSING:
            replica.note(Outcome.ANSWERED, seconds)
        elif code is not grpc.StatusCode.DEADLINE_EXCEEDED:
            replica.note(Outcome.FAILED)
        elif seconds >= _SILENT_TIMES * (self.latency.quantile(0.95) or 0.0):
            replica.note(Outcome.SILENT)
