"""Refusing on the doorstep: in the thread that takes calls in, before a request is read and a worker is woken.

Measured with grpcio 1.85 on one core, CPU of the server for a call: 450 microseconds for a refusal by a gate (the
request is received and a worker woken and the details are written anew), 115 for one here, 240 for an empty answer. At
three times the load that can be answered, two of three calls are refused, so this decides what is left for the others.

A handler that takes a stream need not receive the request before it ends the call, and one with an
``experimental_thread_pool`` runs in that pool; should grpcio drop the attribute, refusals go back to the workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import grpc

from gateway.admission.gate import PREFIX, UNLIMITED, AdmissionGate
from gateway.admission.known_priorities import KnownPriorities
from gateway.admission.lane import Lane, with_jitter
from gateway.admission.metrics import AdmissionMetrics
from gateway.admission.queue import Reason
from gateway.admission.workers import CountingPool, SameThread
from twostage.errors import Overloaded
from twostage.rpc.errors import to_status

STATUS_THREAD_COUNT = 2
MAX_STATUS_REQUEST_COUNT = 256
"""So many status requests may be asked at once; more are refused, for each holds memory until it is answered."""

# How long written statuses are used, and how many there are, each with another time to try again.
_STATUS_SECONDS = 0.25
_STATUS_COUNT = 4


class Doorstep(grpc.ServerInterceptor):
    """Refuses calls that would be refused behind the gate, cheaply, and all calls while no thread is left.

    To be asked before the server's other interceptors.

    Args:
        gate: What stands behind, and says what methods cost.
        workers: The threads that run requests.
        known: The callers' priorities as far as they are known.
        metrics: Told of what is refused.
        counter: Gives, for ``package.Service/Method``, what is called for every refusal, since no other interceptor
            sees them.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        gate: AdmissionGate,
        workers: CountingPool,
        known: KnownPriorities,
        metrics: AdmissionMetrics,
        *,
        counter: Callable[[str], Callable[[], None]] = lambda _: lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._costs = gate.costs
        self._lanes = tuple(gate.lanes)
        self._workers = workers
        self._known = known
        self._metrics = metrics
        self._counter = counter
        self._counters: dict[str, Callable[[], None]] = {}
        self._here = SameThread()
        self._refusing = {lane.name: self._handler(_Statuses(lane, clock)) for lane in gate.lanes}
        self._status_workers = CountingPool(STATUS_THREAD_COUNT, "status")
        self._apart = {f"{PREFIX}{name}" for name in UNLIMITED}
        self._wrapped: dict[str, tuple[object, Any]] = {}

    def close(self) -> None:
        """Ends its threads; the server must have stopped."""
        self._status_workers.shutdown(wait=False, cancel_futures=True)
        self._here.shutdown(wait=False)

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Finds the method's handler, or one that refuses; called by gRPC for every call, in one thread."""
        method = handler_call_details.method
        cost = self._costs.get(method)
        if cost is None:
            handler = continuation(handler_call_details)
            return self._set_apart(method, handler) if method in self._apart else handler
        lane = cost.lane
        workers = self._workers
        closed = lane.refuses_up_to
        if workers.outstanding_count >= workers.size:
            reason = Reason.NO_THREAD
        elif (closed >= 0 or (closed := self._expects(lane)) >= 0) and closed >= max(
            self._known.of(handler_call_details.invocation_metadata) - cost.lowered, 0
        ):
            reason = Reason.FULL
        else:
            return continuation(handler_call_details)
        self._metrics.refused(lane, reason, None)
        count = self._counters.get(method)
        if count is None:
            count = self._counters[method] = self._counter(method.removeprefix("/"))
        count()
        return self._refusing[lane.name]

    def _expects(self, lane: Lane) -> int:
        """As `Lane.refuses_up_to` once those have come to the gate who are on their way from here.

        Without it dozens are let through for each place, because many calls are taken in before one worker has run; and
        the more workers there are to run, the longer this thread waits for the interpreter.
        """
        coming_count = self._workers.outstanding_count
        for each in self._lanes:
            coming_count -= each.in_flight_count + len(each.room)
        return lane.room.lowest_priority if coming_count > lane.free_count else -1

    def _handler(self, statuses: Iterator[grpc.Status]) -> Any:
        def refuse(_requests: Iterator[bytes], context: Any) -> bytes:
            context.abort_with_status(next(statuses))
            raise AssertionError("abort_with_status has raised")

        refuse.experimental_thread_pool = self._here  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(refuse)

    def _set_apart(self, method: str, handler: Any) -> Any:
        """The same handler on threads of its own, so that it is answered when all others are busy."""
        if handler is None or handler.unary_unary is None:
            return handler
        if self._status_workers.outstanding_count >= MAX_STATUS_REQUEST_COUNT:
            return next(iter(self._refusing.values()))
        known = self._wrapped.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        behavior = handler.unary_unary

        def apart(request: Any, context: Any) -> Any:
            return behavior(request, context)

        apart.experimental_thread_pool = self._status_workers  # type: ignore[attr-defined]
        wrapped = grpc.unary_unary_rpc_method_handler(apart, handler.request_deserializer, handler.response_serializer)
        self._wrapped[method] = (handler, wrapped)
        return wrapped


class _Statuses(Iterator[grpc.Status]):
    """Refusals as they are sent, written anew several times a second: writing one costs more than sending it.

    Args:
        lane: Whose refusals they are.
        clock: Seconds that only grow.
    """

    def __init__(self, lane: Lane, clock: Callable[[], float]) -> None:
        self._lane = lane
        self._clock = clock
        self._written_at = float("-inf")
        self._written: Iterator[grpc.Status] = iter(())
        self._uncounted = 0

    def __next__(self) -> grpc.Status:
        self._uncounted += 1
        now = self._clock()
        if now - self._written_at > _STATUS_SECONDS:
            seconds = self._lane.note_refusals(self._uncounted)
            self._uncounted = 0
            self._written_at = now
            self._written = cycle([to_status(Overloaded(with_jitter(seconds))) for _ in range(_STATUS_COUNT)])
        return next(self._written)
