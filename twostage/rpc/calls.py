"""Calls to one of a service's replicas, with a second attempt at another one where the first is slow or fails.

gRPC retries over the channel that failed, and grpcio ignores a hedging policy, so both are made here, where replicas
are told apart:

- *hedge*: the first attempt took longer than nearly all calls do (the service's own p95), so another replica is asked
  too; the first good answer wins and the other call is cancelled. See Dean and Barroso, "The tail at scale", CACM 56,
  2013.
- *retry*: an attempt ended with UNAVAILABLE, so another replica is asked at once; where there is none, the same one
  after a moment.

Each has a budget, a share of all requests, so that a service in distress is not asked twice by everybody. Where there
is only one address, or hedges are off, calls block, which costs the least: measured for small messages, 0.2 ms of CPU
instead of 0.45 ms for futures, of which gRPC starts a thread for each that is alone on its channel.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc

from twostage.errors import NotReady
from twostage.latency import LatencyWindow
from twostage.rpc.asking import SAME_AGAIN_SECONDS, ask_together
from twostage.rpc.channels import Replicas
from twostage.rpc.outliers import Outcome
from twostage.rpc.question import NoAnswer, Question, more_telling, status_of
from twostage.rpc.replica import Replica
from twostage.rpc.share_budget import ShareBudget

S = TypeVar("S")

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
# How these calls end says nothing of the replica: it has too much to do, or somebody lost interest.
_TELLING_NOTHING = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
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


class Calls(Generic[S]):
    """Asks the replicas of one service.

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

    def ask(self, question: Question, first: Replica[S] | None = None) -> Any:
        """Asks and waits for the answer.

        Args:
            question: What is asked.
            first: Whom to ask first; chosen by `Replicas.pick` when unset.

        Raises:
            NoAnswer: The call failed.
            NotReady: There is no replica.
        """
        if self.replicas.several and self.policy.hedge_share > 0:
            return ask_together([(self, question, first)])[0]
        self.hedges.note_request()
        self.retries.note_request()
        replica = self.first(question, first)
        try:
            return self._ask_one(question, replica)
        except NoAnswer as failed:
            if not self.may_retry(failed.error):
                raise
            other = self._another(replica, question)
            if other is None:
                raise
            try:
                return self._ask_one(question, other)
            except NoAnswer as again:
                raise more_telling(failed, again) from None

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

    def _another(self, failed: Replica[S], question: Question) -> Replica[S] | None:
        """Who is asked after one failed; None where nobody could answer in time."""
        with suppress(NotReady):
            return self.replicas.pick(exclude=(failed,), holding=question.holding)
        if question.deadline - time.perf_counter() <= SAME_AGAIN_SECONDS:
            return None
        time.sleep(SAME_AGAIN_SECONDS)
        # Over another connection where there are several, which may end at another process.
        return self.replicas.pick(holding=question.holding)

    def _ask_one(self, question: Question, replica: Replica[S]) -> Any:
        began = time.perf_counter()
        try:
            with replica:
                answer = question.method(replica.stub)(question.message, timeout=max(question.deadline - began, 0.001))
        except grpc.RpcError as error:
            self.note_failure(replica, status_of(error), time.perf_counter() - began)
            raise NoAnswer(error, replica) from error
        seconds = time.perf_counter() - began
        self.latency.record(seconds)
        replica.note(Outcome.ANSWERED, seconds)
        return answer

    def may_retry(self, error: grpc.RpcError) -> bool:
        """Says whether a failure may be tried again, and if so takes it from the budget."""
        if status_of(error) is not _UNAVAILABLE:
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
