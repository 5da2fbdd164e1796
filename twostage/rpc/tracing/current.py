"""The span of the request that is being worked on, for whoever asks other services or measures steps.

Nothing here imports OpenTelemetry. Where nothing is traced there is no current span, and all that this costs a request
is to find that out: some tens of nanoseconds each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar, Token
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

Metadata = tuple[tuple[str, str], ...]
"""What tells the next service which trace a call belongs to: ``traceparent`` and perhaps ``tracestate``."""


class CallSpan(Protocol):
    """A call to another service, from its beginning to its end."""

    @property
    def metadata(self) -> Metadata:
        """What is sent with the call."""

    def end(self, code: grpc.StatusCode) -> None:
        """Ends it with the status that the call had; a second time does nothing."""


class RequestSpan(Protocol):
    """A request that a server works on."""

    @property
    def trace_id(self) -> str:
        """Names the trace, 32 hex digits; empty where it is not recorded."""

    @property
    def exemplar(self) -> dict[str, str] | None:
        """The labels of an exemplar: the trace's id; None where it is not recorded."""

    @property
    def metadata(self) -> Metadata:
        """What is sent with a call that gets no span of its own."""

    def call(self, method: str, address: str, attempt: str) -> CallSpan:
        """Begins a call: ``package.Service/Method``, to whom, and which attempt it is: first, retry, hedge."""

    def step(self, name: str, began: float, seconds: float) -> None:
        """Records a step that has ended: its name, when it began by ``time.perf_counter``, how long it took."""

    def note(self, **attributes: str | float | list[str]) -> None:
        """Adds attributes; never a user's id, nor lists of items."""

    def finish(self, code: grpc.StatusCode, facts: Mapping[str, object], error: BaseException | None) -> None:
        """Ends it.

        Args:
            code: What the caller is told.
            facts: Those of the request's log event; a span takes the ones that `twostage.rpc.tracing.spans` names.
            error: What went wrong, if anything.
        """


class Tracer(Protocol):
    """Begins the spans of requests."""

    def begin(self, method: str, metadata: Iterable[tuple[str, Any]]) -> RequestSpan:
        """Begins a request's span in this thread, which is the current one until it is finished.

        Args:
            method: ``package.Service/Method``.
            metadata: As the caller sent it.
        """

    def close(self, seconds: float) -> None:
        """Sends what waits to be sent, within so many seconds, and sends nothing from then on."""


_current: ContextVar[RequestSpan | None] = ContextVar("twostage_span", default=None)
_methods: dict[type[Message], str] = {}


def current() -> RequestSpan | None:
    """The span of the current request; None where it has none, and outside a request."""
    return _current.get()


def exemplar() -> dict[str, str] | None:
    """The labels of an exemplar for what is measured of the current request; None where it is not recorded."""
    span = _current.get()
    return None if span is None else span.exemplar


def call_span(message: Message, address: str, attempt: str = "first") -> CallSpan | None:
    """Begins a call of the current request.

    Args:
        message: What is asked; its type tells the method.
        address: Of whom.
        attempt: ``first``, ``retry`` or ``hedge``.

    Returns:
        To be ended when the call has; None where nothing is traced.
    """
    span = _current.get()
    return None if span is None else span.call(method_of(message), address, attempt)


def step(name: str, began: float, seconds: float) -> None:
    """Records a step of the current request that has ended; see :meth:`RequestSpan.step`."""
    span = _current.get()
    if span is not None:
        span.step(name, began, seconds)


def steps(began: float, timings_ms: Mapping[str, float], *, without: str = "") -> None:
    """Records the steps of the current request, each of which began when the one before it ended.

    Args:
        began: When the first began, by ``time.perf_counter``.
        timings_ms: Milliseconds by step, in order.
        without: A step that has a span already.
    """
    span = _current.get()
    if span is None:
        return
    for name, milliseconds in timings_ms.items():
        if name != without:
            span.step(name, began, milliseconds / 1e3)
        began += milliseconds / 1e3


def enter(span: RequestSpan) -> Token[RequestSpan | None]:
    """Makes a span the current one; for tracers."""
    return _current.set(span)


def leave(token: Token[RequestSpan | None]) -> None:
    """Makes the one before it the current one: threads are used again."""
    _current.reset(token)


def method_of(message: Message) -> str:
    """The method that takes a message, ``package.Service/Method``: in our contracts each takes one of its own."""
    kind = type(message)
    known = _methods.get(kind)
    if known is None:
        descriptor = message.DESCRIPTOR
        known = descriptor.full_name
        for service in descriptor.file.services_by_name.values():
            for method in service.methods:
                if method.input_type is descriptor:
                    known = f"{service.full_name}/{method.name}"
        _methods[kind] = known
    return known
