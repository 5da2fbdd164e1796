"""A question under way: its attempts at several replicas, and which of them brings the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import grpc

from twostage.errors import NotReady
from twostage.rpc.asked_service import AskedService
from twostage.rpc.outliers import Outcome
from twostage.rpc.question import NoAnswer, Question, more_telling
from twostage.rpc.replica import Replica
from twostage.rpc.tracing.current import CallSpan, call_span

S = TypeVar("S")

# A call that takes so many times the p95 is taken for lost: where hedges have used up their budget, as they may where
# every twentieth call is slow, it is made again from that of retries.
_LOST_TIMES = 4.0
SAME_AGAIN_SECONDS = 0.02
"""Before the same replica is asked again, where no other is there."""


class _Attempt(Generic[S]):
    """One call under way."""

    __slots__ = ("_span", "began", "call", "is_hedge", "replica")

    def __init__(
        self, replica: Replica[S], call: Any, began: float, *, is_hedge: bool, span: CallSpan | None = None
    ) -> None:
        self.replica = replica
        self.call = call
        self.began = began
        self.is_hedge = is_hedge
        self._span = span

    def ended(self, code: grpc.StatusCode) -> None:
        if self._span is not None:
            self._span.end(code)

    def cancel(self) -> None:
        self.call.cancel()
        self.ended(grpc.StatusCode.CANCELLED)


class _Asking(Generic[S]):
    """A question under way, with all attempts at it.

    Attributes:
        wake_at: When `wake` is to be called, by ``time.perf_counter``; None for never.
        answer: The answer, once there is one.
        failure: Why there is none, as far as it is known.
    """

    def __init__(
        self, service: AskedService[S], question: Question, ended: SimpleQueue[tuple[_Asking[Any], Any]]
    ) -> None:
        self._service = service
        self._question = question
        self._ended = ended
        self._asked: list[Replica[S]] = []
        self._pending: list[_Attempt[S]] = []
        self._hedge_seconds = self._usual_seconds = 0.0
        self._same_again = self._was_retried = self._was_refused = False
        self.wake_at: float | None = None
        self.answer: Any = None
        self.failure: NoAnswer | None = None

    def begin(self, first: Replica[S] | None) -> None:
        service = self._service
        service.hedges.note_request()
        service.retries.note_request()
        now = self._start(service.first(self._question, first))
        if service.policy.hedge_share > 0 and service.replicas.several:
            usual = service.latency.quantile(0.95)
            # While nothing was measured half the time is given to the first.
            seconds = (self._question.deadline - now) / 2 if usual is None else usual
            self._usual_seconds = self._hedge_seconds = max(seconds, service.policy.hedge_least_seconds)
            self.wake_at = now + self._hedge_seconds

    def wake(self) -> None:
        """Does what was waited for: asks another replica, or the same one again."""
        self.wake_at = None
        if self._same_again:
            self._same_again = False
            try:
                replica = self._service.replicas.pick(holding=self._question.holding)
            except NotReady:
                replica = self._asked[-1]
            self._start(replica)
        elif self._pending:
            self._hedge()

    def take_end(self, attempt: _Attempt[S]) -> bool:
        """Takes note of an attempt's end; True when there will be no more."""
        if attempt not in self._pending:
            return False
        self._pending.remove(attempt)
        service, now = self._service, time.perf_counter()
        code = attempt.call.code()
        attempt.ended(code)
        if code is grpc.StatusCode.OK:
            self._settle(attempt, now)
            return True
        service.note_failure(attempt.replica, code, now - attempt.began)
        self.failure = more_telling(self.failure, NoAnswer(attempt.call, attempt.replica))
        if self._pending:
            # The other one may still answer.
            return False
        return not self._retry(attempt)

    def leave(self) -> None:
        """Gives up what is still under way."""
        for attempt in self._pending:
            attempt.cancel()
        self._pending.clear()

    def _start(self, replica: Replica[S], *, is_hedge: bool = False) -> float:
        question = self._question
        kind = "hedge" if is_hedge else "retry" if self._asked else "first"
        span = call_span(question.message, replica.address, kind)
        now = time.perf_counter()
        replica.begin()
        try:
            call = question.method(replica.stub).future(
                question.message,
                timeout=max(question.deadline - now, 0.001),
                metadata=None if span is None else span.metadata,
            )
        except BaseException:
            replica.end()
            raise
        attempt = _Attempt(replica, call, now, is_hedge=is_hedge, span=span)
        self._asked.append(replica)
        self._pending.append(attempt)

        def on_end(_call: Any) -> None:
            replica.end()
            self._ended.put((self, attempt))

        call.add_done_callback(on_end)
        return now

    def _hedge(self) -> None:
        service, question = self._service, self._question
        now = time.perf_counter()
        if question.deadline - now < (service.latency.quantile(0.5) or 0.0):
            return
        try:
            other = service.replicas.pick(exclude=self._asked, holding=question.holding)
        except NotReady:
            return
        if other.failing or other.aside:
            return
        first = self._pending[0]
        # Whoever was put aside meanwhile, is on trial, or takes that long is no longer just slow.
        is_lost = first.replica.aside or now - first.began >= _LOST_TIMES * self._usual_seconds
        if service.hedges.take() or (is_lost and service.retries.take()):
            self._start(other, is_hedge=True)
            return
        if not self._was_refused:
            self._was_refused = True
            self._tell("refused")
        self._hedge_seconds *= 2
        self.wake_at = now + self._hedge_seconds

    def _settle(self, winner: _Attempt[S], now: float) -> None:
        service = self._service
        self.answer, self.failure = winner.call.result(), None
        seconds = now - winner.began
        service.latency.record(seconds)
        winner.replica.note(Outcome.ANSWERED, seconds)
        for other in self._pending:
            other.cancel()
            if other.began < winner.began:
                # It would have taken longer still, and leaving out the slow ones would make the p95 fall and fall.
                service.latency.record(now - other.began)
                other.replica.note(Outcome.SILENT)
        if self._pending:
            self._tell("won" if winner.is_hedge else "lost")
        self._pending.clear()

    def _retry(self, failed: _Attempt[S]) -> bool:
        if self._was_retried or not self._service.may_retry(failed.call):
            return False
        self._was_retried = True
        try:
            other = self._service.replicas.pick(exclude=self._asked, holding=self._question.holding)
        except NotReady:
            self.wake_at = time.perf_counter() + SAME_AGAIN_SECONDS
            self._same_again = self.wake_at < self._question.deadline
            return self._same_again
        else:
            now = self._start(other)
            self.wake_at = now + self._hedge_seconds if self._hedge_seconds else None
        return True

    def _tell(self, outcome: str) -> None:
        if self._service.watcher is not None:
            self._service.watcher.hedged(outcome)


def ask_together(questions: Sequence[tuple[AskedService[Any], Question, Replica[Any] | None]]) -> list[Any]:
    """Asks several services at once and waits for all their answers.

    Args:
        questions: Each with who is asked, and with the replica that is asked first, if that was chosen before.

    Returns:
        The answers in the questions' order.

    Raises:
        NoAnswer: One has none; the others are given up.
        NotReady: There is no replica to ask first.
    """
    ended: SimpleQueue[tuple[_Asking[Any], Any]] = SimpleQueue()
    askings = [_Asking(service, question, ended) for service, question, _ in questions]
    try:
        for asking, (_, _, first) in zip(askings, questions, strict=True):
            asking.begin(first)
        waiting = set(askings)
        while waiting:
            asking = _next_end(ended, waiting)
            if asking.failure is not None:
                break
            waiting.discard(asking)
    finally:
        for asking in askings:
            asking.leave()
    for part, asking in enumerate(askings):
        if asking.failure is not None:
            asking.failure.part = part
            raise asking.failure
    return [asking.answer for asking in askings]


def _next_end(ended: SimpleQueue[tuple[_Asking[Any], Any]], waiting: set[_Asking[Any]]) -> _Asking[Any]:
    """Waits for the next question that ends, and has others hedged and retried meanwhile."""
    while True:
        wake_at = min((asking.wake_at for asking in waiting if asking.wake_at is not None), default=None)
        try:
            seconds = None if wake_at is None else max(wake_at - time.perf_counter(), 0.0)
            asking, attempt = ended.get(timeout=seconds)
        except Empty:
            now = time.perf_counter()
            for asking in waiting:
                if asking.wake_at is not None and asking.wake_at <= now:
                    asking.wake()
        else:
            if asking.take_end(attempt):
                return asking
