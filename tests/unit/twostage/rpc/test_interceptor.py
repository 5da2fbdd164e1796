from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from structlog.testing import CapturingLogger

from tests.unit.twostage.rpc.echo import ERRORS, call_of, connected, echo_server, failed, say_stub, status_stub
from twostage.errors import Overloaded
from twostage.rpc import caller, request_event
from twostage.rpc.errors import status_code
from twostage.rpc.request_log import Outcome, RequestLog, RequestLogging
from twostage.rpc.server import ServiceServer

Served = tuple[ServiceServer, CapturingLogger, Callable[..., Any]]


def serving(**settings: Any) -> Iterator[Served]:
    logger: Any = CapturingLogger()
    with echo_server(logger, **settings) as server, connected(server.address) as channel:
        stub = say_stub(channel)
        yield server, logger, lambda text, **how: stub(StringValue(value=text), **{"timeout": 5, **how})


@pytest.fixture
def quiet() -> Iterator[Served]:
    yield from serving(slow_request_ms=100)


@pytest.fixture
def talkative() -> Iterator[Served]:
    yield from serving(log_requests="all", max_workers=1)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "did not happen within 5 s"
        time.sleep(0.005)


def test_a_good_request_is_counted_but_not_logged(quiet: Served) -> None:
    server, logger, say = quiet
    assert say("hello").value == "hello"
    labels = {"method": "test.Echo/Say", "code": "OK"}
    assert server.metrics.registry.get_sample_value("twostage_requests_total", labels) == 1
    count = server.metrics.registry.get_sample_value(
        "twostage_request_seconds_count", {"method": "test.Echo/Say", "outcome": "ok"}
    )
    assert count == 1
    assert logger.calls == []


def test_all_requests_are_logged_when_asked_with_the_facts_attached(talkative: Served) -> None:
    _, logger, say = talkative
    say("hello", metadata=(("x-request-id", "r-1"),))
    (call,) = logger.calls
    assert (call.method_name, call.args) == ("info", ("request",))
    facts = call.kwargs
    assert facts.pop("ms") < 1000
    assert facts == {
        "method": "test.Echo/Say",
        "code": "OK",
        "request_id": "r-1",
        "generation": 7,
        "candidate_count": 500,
    }


def test_a_slow_request_is_logged(quiet: Served) -> None:
    _, logger, say = quiet
    say("sleep 0.12")
    (call,) = logger.calls
    assert call.args == ("slow request",)
    assert call.kwargs["ms"] >= 100


@pytest.mark.parametrize("name", ERRORS)
def test_a_failure_is_counted_by_code_and_logged_with_its_reason(quiet: Served, name: str) -> None:
    server, logger, say = quiet
    error = call_of(failed(lambda: say(name)))
    labels = {"method": "test.Echo/Say", "code": error.code().name}
    assert server.metrics.registry.get_sample_value("twostage_requests_total", labels) == 1
    (call,) = logger.calls
    assert call.kwargs["reason"] == ERRORS[name]().reason
    assert "alice" not in str(call)


def test_a_bug_is_logged_with_its_exception(quiet: Served) -> None:
    _, logger, say = quiet
    with pytest.raises(grpc.RpcError):
        say("boom")
    (call,) = logger.calls
    assert call.method_name == "error"
    assert str(call.kwargs["exc_info"]) == "the secret of the house"


def test_a_servicers_own_abort_is_left_alone(quiet: Served) -> None:
    server, _, say = quiet
    error = call_of(failed(lambda: say("abort")))
    assert (error.code(), error.details()) == (grpc.StatusCode.ALREADY_EXISTS, "by hand")
    labels = {"method": "test.Echo/Say", "code": "ALREADY_EXISTS"}
    assert server.metrics.registry.get_sample_value("twostage_requests_total", labels) == 1


def test_an_answer_that_comes_after_the_deadline_is_not_counted_as_ok(quiet: Served) -> None:
    server, _, say = quiet
    with pytest.raises(grpc.RpcError):
        say("sleep 0.3", timeout=0.05)
    labels = {"method": "test.Echo/Say", "code": "DEADLINE_EXCEEDED"}
    eventually(lambda: server.metrics.registry.get_sample_value("twostage_requests_total", labels) == 1)


def test_a_request_that_waited_past_its_deadline_is_not_begun(talkative: Served) -> None:
    server, logger, say = talkative
    with connected(server.address) as channel:
        first = say_stub(channel).future(StringValue(value="sleep 0.4"))
        eventually(lambda: server.in_flight_count == 1)
        with pytest.raises(grpc.RpcError):
            say("sleep 7", timeout=0.05)
        assert first.result().value == "sleep 0.4"
    say("next")
    assert [call.kwargs["ms"] < 1000 for call in logger.calls] == [True, True]
    assert server.in_flight_count == 0


def test_requests_in_flight_are_counted_while_they_last(quiet: Served) -> None:
    server, _, _ = quiet
    with connected(server.address) as channel:
        calls = [say_stub(channel).future(StringValue(value="sleep 0.3")) for _ in range(3)]
        eventually(lambda: server.metrics.registry.get_sample_value("twostage_requests_in_flight") == 3)
        for call in calls:
            call.result()
    eventually(lambda: server.metrics.registry.get_sample_value("twostage_requests_in_flight") == 0)


def test_while_loading_only_the_status_is_answered() -> None:
    server = echo_server()
    server.start()
    try:
        with connected(server.address) as channel:
            error = call_of(failed(lambda: say_stub(channel)(StringValue(value="x"), timeout=5)))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert error.details() == "not ready: loading"
            assert status_stub(channel)(StringValue(), timeout=5).value == "here"
    finally:
        server.stop(0)


class _BrokenLogger:
    """What structlog's logger does when standard error is closed."""

    def info(self, *_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    warning = error = info


@pytest.mark.parametrize("name", ERRORS)
def test_a_log_that_cannot_be_written_does_not_change_a_refusal(name: str) -> None:
    broken: Any = _BrokenLogger()
    with echo_server(broken) as server, connected(server.address) as channel:
        error = call_of(failed(lambda: say_stub(channel)(StringValue(value=name), timeout=5)))
        assert error.code() is status_code(ERRORS[name]())
        assert server.metrics.registry.get_sample_value("twostage_log_failures_total") == 1


def test_a_log_that_cannot_be_written_does_not_change_an_answer() -> None:
    broken: Any = _BrokenLogger()
    with echo_server(broken, log_requests="all") as server, connected(server.address) as channel:
        assert say_stub(channel)(StringValue(value="hello"), timeout=5).value == "hello"


def test_facts_attached_outside_a_request_go_nowhere() -> None:
    request_event.attach(generation=1)
    facts, token = request_event.begin()
    request_event.attach(rung="FULL")
    request_event.end(token)
    request_event.attach(rung="POPULAR")
    assert facts == {"rung": "FULL"}


def test_a_flood_of_refusals_is_logged_in_part_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    logger: Any = CapturingLogger()
    log = RequestLog(RequestLogging(failures_per_second=3), logger)
    refused = Outcome("m", grpc.StatusCode.RESOURCE_EXHAUSTED, 0.0, {}, None, None)
    for _ in range(50):
        log.write(refused)
    assert len(logger.calls) == 3
    now[0] = 101.5
    log.write(refused)
    assert logger.calls[-1].kwargs["left_out_count"] == 47
    bug = Outcome("m", grpc.StatusCode.INTERNAL, 0.0, {}, ValueError("x"), None)
    for _ in range(50):
        log.write(bug)
    assert len(logger.calls) == 54


def test_bytes_that_are_no_message_are_the_callers_fault(quiet: Served) -> None:
    server, _, _ = quiet
    with connected(server.address) as channel:
        call: Any = channel.unary_unary("/test.Echo/Say")
        error = call_of(failed(lambda: call(b"\x0a\x05ab", timeout=5)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "request: expected a message as the method takes it, received '4 bytes'"
    labels = {"method": "test.Echo/Say", "code": "INVALID_ARGUMENT"}
    assert server.metrics.registry.get_sample_value("twostage_requests_total", labels) == 1


class _Turnstile:
    """A gate that writes down who goes through, and refuses on demand."""

    def __init__(self, name: str, seen: list[str], refuse: bool = False) -> None:
        self._name, self._seen, self._refuse = name, seen, refuse
        self.silent = False

    def enter(self, method: str, context: Any) -> Callable[[], None]:  # noqa: ARG002 - the protocol's
        self._seen.append(f"{self._name} in {method}")
        if self._refuse:
            raise Overloaded(0.5)
        if not self.silent:
            caller.set_current(caller.Caller(self._name))
        return lambda: self._seen.append(f"{self._name} out")


def test_gates_are_passed_in_order_and_left_in_reverse_also_when_the_last_refuses() -> None:
    seen: list[str] = []
    gates = [_Turnstile("first", seen), _Turnstile("second", seen, refuse=True)]
    with echo_server(None, gates=gates) as server, connected(server.address) as channel:
        error = failed(lambda: say_stub(channel)(StringValue(value="hello"), timeout=5))
    assert call_of(error).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert seen == ["first in /test.Echo/Say", "second in /test.Echo/Say", "first out"]


def test_a_caller_is_known_to_the_method_and_forgotten_by_the_thread() -> None:
    seen: list[str] = []
    gate = _Turnstile("alice", seen)
    with echo_server(None, gates=[gate], max_workers=1) as server, connected(server.address) as channel:
        say = say_stub(channel)
        assert say(StringValue(value="caller"), timeout=5).value == "alice"
        gate.silent = True
        assert say(StringValue(value="caller"), timeout=5).value == ""
