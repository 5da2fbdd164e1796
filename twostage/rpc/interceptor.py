"""The one interceptor of every server: errors to status codes, metrics, and one log event per request.

It runs on every call, so it is built to cost little: labels are resolved once per method, facts are collected in a
plain dict, and an event is rendered only for requests that failed or were slow (or for all, when asked to).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from structlog.typing import FilteringBoundLogger

from twostage.errors import InvalidField, NotReady
from twostage.rpc import caller, request_event
from twostage.rpc.errors import status_code, to_status
from twostage.rpc.gates import Gate, Leave
from twostage.rpc.metrics import MethodMetrics, ServerMetrics
from twostage.rpc.request_log import Outcome, RequestLog, RequestLogging
from twostage.rpc.tracing import current
from twostage.rpc.tracing.current import Tracer

# Infrastructure asks these several times a second; their answers are no requests of ours.
_PASSED_THROUGH = ("/grpc.health.", "/grpc.reflection.")
# Whoever asks for the state of a server that still loads should get it.
_ANSWERED_WHILE_LOADING = "/GetStatus"
_OK = grpc.StatusCode.OK


class ServerInterceptor(grpc.ServerInterceptor):
    """Wraps the unary methods of a server; streams, health and reflection pass through untouched.

    Args:
        metrics: Counted for every request.
        logging: Which requests are logged.
        logger: Where they are logged; structlog's default when unset.
        gates: Asked in this order before a method is called; none by default.
        tracer: Begins a span for every request; nothing is traced when None.

    Attributes:
        not_ready: Why requests are refused as NOT_READY (GetStatus excepted), or None to serve them.
        in_flight_count: How many requests are being worked on.
    """

    def __init__(
        self,
        metrics: ServerMetrics,
        logging: RequestLogging | None = None,
        logger: FilteringBoundLogger | None = None,
        gates: Sequence[Gate] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self._gates = tuple(gates)
        self._tracer = tracer
        self.not_ready: str | None = None
        self.in_flight_count = 0
        self._lock = threading.Lock()
        self._metrics = metrics
        self._log = RequestLog(logging or RequestLogging(), logger if logger is not None else structlog.get_logger())
        self._wrapped: dict[str, tuple[object, Any]] = {}

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Finds the method's handler and returns it wrapped; called by gRPC for every call."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        if method.startswith(_PASSED_THROUGH):
            wrapped = handler
        else:
            # Bytes come in: who is refused need not be read, and what cannot be read is the caller's fault and no bug.
            wrapped = grpc.unary_unary_rpc_method_handler(
                self._wrap(method, handler.unary_unary, handler.request_deserializer),
                None,
                handler.response_serializer,
            )
        self._wrapped[method] = (handler, wrapped)
        return wrapped

    def _wrap(
        self, method: str, behavior: Callable[[Any, Any], Any], deserialize: Callable[[bytes], Any] | None
    ) -> Callable[[bytes, Any], Any]:
        name = method.removeprefix("/")
        metrics = self._metrics.for_method(name)
        gated = not method.endswith(_ANSWERED_WHILE_LOADING)
        clock = time.perf_counter
        show_in_flight = self._metrics.in_flight.set

        # The context is Any because the type stubs lack its method `code`.
        def call(content: bytes, context: Any) -> Any:
            start = clock()
            facts, token = request_event.begin()
            self._begin_span(name, context)
            with self._lock:
                self.in_flight_count += 1
                show_in_flight(self.in_flight_count)
            code = _OK
            error: Exception | None = None
            aborted = False
            request = response = None
            leaves: list[Leave] = []
            try:
                if gated and self.not_ready is not None:
                    raise NotReady(self.not_ready)  # noqa: TRY301 - goes the way of every other domain error
                for gate in self._gates:
                    if (leave := gate.enter(method, context)) is not None:
                        leaves.append(leave)  # noqa: PERF401 - known at once, should the next gate refuse
                request = _read(content, deserialize)
                response = behavior(request, context)
                code = context.code() or _OK
                if not context.is_active():
                    code = _abandoned(context)
            except Exception as caught:  # noqa: BLE001 - whatever a servicer raises must become a status
                error = caught
                aborted = _is_abort(caught, context)
                code = context.code() if aborted else status_code(caught)
            finally:
                while leaves:
                    leaves.pop()()
                if self._gates:
                    caller.forget_current()
                seconds = clock() - start
                with self._lock:
                    self.in_flight_count -= 1
                    show_in_flight(self.in_flight_count)
                _note_end(metrics, code, seconds, facts, error)
                request_event.end(token)
            if self._log.wants(code, seconds):
                shown = None if aborted else error
                self._write(Outcome(name, code, seconds, facts, shown, _request_id(context), request))
            if error is None:
                return response
            if not aborted:
                context.abort_with_status(to_status(error))
            raise error

        return call

    def _begin_span(self, name: str, context: Any) -> None:
        if self._tracer is not None:
            self._tracer.begin(name, context.invocation_metadata())

    def _write(self, outcome: Outcome) -> None:
        """Logs a request; a log that cannot be written, e.g. a closed standard error, changes nobody's answer."""
        try:
            self._log.write(outcome)
        except Exception:  # noqa: BLE001 - there is nowhere to say it but the metrics
            self._metrics.log_failures.inc()


def _note_end(
    metrics: MethodMetrics, code: grpc.StatusCode, seconds: float, facts: dict[str, object], error: Exception | None
) -> None:
    """Counts a request that has ended, and ends its span where it has one."""
    span = current.current()
    if span is None:
        metrics.finished(code, seconds)
        return
    metrics.finished(code, seconds, span.exemplar)
    facts |= span.exemplar or {}
    span.finish(code, facts, error)


def _read(content: bytes, deserialize: Callable[[bytes], Any] | None) -> Any:
    """Reads a request.

    Raises:
        InvalidField: The bytes are no message of the method's request type.
    """
    if deserialize is None:
        return content
    try:
        return deserialize(content)
    except DecodeError:
        raise InvalidField("request", "a message as the method takes it", f"{len(content)} bytes") from None


def _is_abort(error: Exception, context: Any) -> bool:
    """Says whether a servicer ended the call itself: `context.abort` raises a bare Exception after setting a code."""
    return type(error) is Exception and not error.args and context.code() not in (None, _OK)


def _abandoned(context: Any) -> grpc.StatusCode:
    """Why a finished request has no reader: its deadline passed, or the caller went."""
    return grpc.StatusCode.DEADLINE_EXCEEDED if context.time_remaining() <= 0 else grpc.StatusCode.CANCELLED


def _request_id(context: Any) -> str | None:
    for key, value in context.invocation_metadata():
        if key == "x-request-id":
            return str(value)[:128]
    return None
