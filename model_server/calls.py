"""What every call goes through: the limit of calls at once, its deadline, its status and its count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from model_server.errors import ServingError, wire_message
from model_server.metrics import Metrics

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

# Calls past the limit need threads too, to be refused.
REFUSING_THREAD_COUNT = 2
# A caller without a deadline is given as one in the far future.
_NO_DEADLINE_SECONDS = 365 * 24 * 3600.0
_LATE = "Timed out waiting for notification"


class Calls:
    """Runs the work of calls.

    Args:
        max_count: Calls at the same time; one more is RESOURCE_EXHAUSTED.
        metrics: Counts requests.
    """

    def __init__(self, max_count: int, metrics: Metrics) -> None:
        self._slots = threading.Semaphore(max_count)
        self.metrics = metrics

    def answer(
        self, context: grpc.ServicerContext, request: _Request, work: Callable[[_Request, int | None], _Response]
    ) -> _Response:
        """Answers a call, or ends it with the status that its work raises.

        Args:
            context: The call.
            request: What it asks.
            work: Gets the request and the milliseconds left, at least 1; None has no end.
        """
        try:
            return self._answer(context, request, work)
        except ServingError as error:
            context.abort(error.code, wire_message(error.message))
        raise AssertionError  # abort has raised

    def answer_counted(
        self,
        method: str,
        context: grpc.ServicerContext,
        request: Any,
        work: Callable[[Any, int | None], _Response],
    ) -> _Response:
        """Answers a call that metrics are kept of, as ``answer`` does.

        Args:
            method: What metrics call it, e.g. ``Predict``.
            context: The call.
            request: What it asks, with a ``model_spec``.
            work: As in ``answer``.
        """
        began = time.perf_counter()
        model = request.model_spec.name
        try:
            response = self._answer(context, request, work)
        except ServingError as error:
            self.metrics.count_request(model, error.code.name)
            context.abort(error.code, wire_message(error.message))
            raise AssertionError from None  # abort has raised
        self.metrics.count_request(model, "OK")
        self.metrics.time_request(model, method, "GRPC", (time.perf_counter() - began) * 1e6)
        return response

    def _answer(
        self, context: grpc.ServicerContext, request: _Request, work: Callable[[_Request, int | None], _Response]
    ) -> _Response:
        # Given back before the answer is sent: who has it may ask again.
        if not self._slots.acquire(blocking=False):
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        try:
            return work(request, _time_left_ms(context))
        finally:
            self._slots.release()


def _time_left_ms(context: grpc.ServicerContext) -> int | None:
    """Tells how long a call has; nothing is computed for one whose caller has gone."""
    seconds = context.time_remaining()
    if seconds is not None and seconds <= 0:
        raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, _LATE)
    if not context.is_active():
        raise ServingError(grpc.StatusCode.CANCELLED, "the caller has cancelled")
    if seconds is None or seconds > _NO_DEADLINE_SECONDS:
        return None
    return max(1, int(seconds * 1000))
