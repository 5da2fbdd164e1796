"""What happens to a call around its work, over real gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from model_server.call_threads import CallThreads
from model_server.calls import REFUSING_THREAD_COUNT, Calls
from model_server.errors import ServingError
from model_server.metrics import Metrics

Work = Callable[[Any, int | None], bytes]


@contextmanager
def _served(work: Work, *, max_count: int = 2) -> Iterator[tuple[Callable[..., Any], Metrics]]:
    """A server whose only call does some work, and the call."""
    metrics = Metrics()
    calls = Calls(max_count, metrics)

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        spec = SimpleNamespace(model_spec=SimpleNamespace(name=request.decode()))
        return calls.answer_counted("Predict", context, spec, work)

    class Handlers(grpc.GenericRpcHandler):
        def service(self, _details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(behave)

    server = grpc.server(CallThreads(max_count + REFUSING_THREAD_COUNT))
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary("/s/m"), metrics
    server.stop(None).wait()


def _count(metrics: Metrics, status: str) -> int:
    name = f':tensorflow:serving:request_count{{model_name="m",status="{status}"}} '
    return next((int(line.removeprefix(name)) for line in metrics.expose().splitlines() if line.startswith(name)), 0)


def test_the_work_hears_of_the_milliseconds_that_are_left() -> None:
    heard: list[int | None] = []

    def work(_request: Any, timeout_ms: int | None) -> bytes:
        heard.append(timeout_ms)
        return b"done"

    with _served(work) as (call, metrics):
        assert call(b"m", timeout=20) == b"done"
        assert call(b"m") == b"done"
        assert heard[0] is not None
        assert 15_000 < heard[0] <= 20_000
        assert heard[1] is None
        assert _count(metrics, "OK") == 2
        assert ':request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 2' in metrics.expose()


def test_a_status_is_sent_with_its_message_cut_and_counted() -> None:
    def work(_request: Any, _timeout_ms: int | None) -> bytes:
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, "x" * 2000)

    with _served(work) as (call, metrics):
        with pytest.raises(grpc.RpcError) as raised:
            call(b"m", timeout=20)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert raised.value.details() == "x" * 1024 + "...TRUNCATED"
        assert _count(metrics, "FAILED_PRECONDITION") == 1
        assert ":request_latency_count" not in metrics.expose()


def test_one_call_too_many_is_refused_at_once_and_an_ended_one_makes_room() -> None:
    release, come = threading.Event(), threading.Semaphore(0)

    def work(_request: Any, _timeout_ms: int | None) -> bytes:
        come.release()
        release.wait(20)
        return b"done"

    with _served(work, max_count=2) as (call, metrics):
        held = [call.future(b"m", timeout=30) for _ in range(2)]  # type: ignore[attr-defined]
        assert all(come.acquire(timeout=10) for _ in held)
        refused = [call.future(b"m", timeout=20) for _ in range(20)]  # type: ignore[attr-defined]
        for error in (one.exception() for one in refused):
            assert (error.code(), error.details()) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "Server Threadpool Exhausted",
            )
        release.set()
        assert [one.result() for one in held] == [b"done", b"done"]
        for _ in range(50):
            assert call(b"m", timeout=20) == b"done"
        assert _count(metrics, "RESOURCE_EXHAUSTED") == 20


def test_a_call_at_a_time_is_enough_for_one_who_asks_again_and_again() -> None:
    with _served(lambda _request, _timeout_ms: b"x" * 100_000, max_count=1) as (call, _):
        for _ in range(300):
            call(b"m", timeout=20)


@pytest.mark.parametrize(
    ("left_seconds", "active", "code"),
    [(0.0, False, "DEADLINE_EXCEEDED"), (0.0, True, "DEADLINE_EXCEEDED"), (5.0, False, "CANCELLED")],
)
def test_nothing_is_computed_for_a_caller_who_has_gone(left_seconds: float, active: bool, code: str) -> None:
    """gRPC tells the server of it at its leisure, so that no client can bring this about for certain."""
    aborted: list[tuple[grpc.StatusCode, str]] = []

    def abort(status: grpc.StatusCode, message: str) -> None:
        aborted.append((status, message))
        raise RuntimeError

    context: Any = SimpleNamespace(time_remaining=lambda: left_seconds, is_active=lambda: active, abort=abort)
    worked = threading.Event()
    calls = Calls(1, Metrics())
    request = SimpleNamespace(model_spec=SimpleNamespace(name="m"))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            calls.answer_counted("Predict", context, request, lambda _request, _timeout_ms: worked.set())
    assert not worked.is_set()
    assert {status.name for status, _ in aborted} == {code}
    assert _count(calls.metrics, code) == 3


def test_less_than_a_millisecond_is_still_a_deadline() -> None:
    """TensorFlow takes a timeout of 0 for none."""
    heard: list[int | None] = []
    context: Any = SimpleNamespace(time_remaining=lambda: 0.0004, is_active=lambda: True)
    request = SimpleNamespace(model_spec=SimpleNamespace(name="m"))
    Calls(1, Metrics()).answer(context, request, lambda _request, timeout_ms: heard.append(timeout_ms))
    assert heard == [1]
