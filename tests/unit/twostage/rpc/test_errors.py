from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status

from tests.unit.twostage.rpc.echo import ERRORS, call_of, connected, echo_server, failed, say_stub
from twostage import errors
from twostage.rpc.errors import STATUS_CODES, error_info, from_rpc_error, status_code, to_status

# The contract's table, written out by hand.
CONTRACT = {
    "InvalidField": ("INVALID_ARGUMENT", "INVALID_FIELD"),
    "NotFound": ("NOT_FOUND", "NOT_FOUND"),
    "ItemNotFound": ("NOT_FOUND", "ITEM_NOT_FOUND"),
    "UserNotFound": ("NOT_FOUND", "USER_NOT_FOUND"),
    "GenerationNotLoaded": ("FAILED_PRECONDITION", "GENERATION_NOT_LOADED"),
    "NotWhole": ("FAILED_PRECONDITION", "NOT_WHOLE"),
    "NotReady": ("UNAVAILABLE", "NOT_READY"),
    "Overloaded": ("RESOURCE_EXHAUSTED", "OVERLOADED"),
    "DeadlineSpent": ("DEADLINE_EXCEEDED", "DEADLINE_SPENT"),
    "Unauthenticated": ("UNAUTHENTICATED", "UNAUTHENTICATED"),
    "PermissionDenied": ("PERMISSION_DENIED", "PERMISSION_DENIED"),
}


def subclasses(kind: type[errors.TwostageError]) -> Iterator[type[errors.TwostageError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with echo_server() as server, connected(server.address) as channel:
        yield channel


def failure(channel: grpc.Channel, text: str) -> grpc.RpcError:
    return failed(lambda: say_stub(channel)(StringValue(value=text), timeout=5))


def test_every_domain_error_has_a_status_code() -> None:
    of_ours = {kind for kind in subclasses(errors.TwostageError) if kind.__module__.startswith("twostage")}
    assert of_ours == set(STATUS_CODES)
    assert {kind.__name__ for kind in of_ours} == set(CONTRACT) == set(ERRORS)


@pytest.mark.parametrize("name", CONTRACT)
def test_an_error_crosses_the_wire_with_code_reason_and_message(channel: grpc.Channel, name: str) -> None:
    error = failure(channel, name)
    code, reason = CONTRACT[name]
    assert call_of(error).code().name == code
    assert call_of(error).details() == ERRORS[name]().message
    info = error_info(error)
    assert info is not None
    assert (info.reason, info.domain) == (reason, "twostage")


def test_violations_name_field_expectation_and_reception() -> None:
    error = errors.InvalidField.several(
        [errors.Violation("count", "1 to 200", 0), errors.Violation("user_id", "at most 256 bytes", "x" * 10_000_000)]
    )
    status = rpc_status_of(error)
    packed = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(packed)
    count, user = packed.field_violations
    assert (count.field, count.description) == ("count", "expected 1 to 200, received 0")
    assert user.field == "user_id"
    assert len(user.description) < 130
    assert error.message.startswith("count: expected 1 to 200, received 0; user_id: expected at most 256 bytes")


def rpc_status_of(error: Exception) -> status_pb2.Status:
    (_, value), *_ = to_status(error).trailing_metadata
    return status_pb2.Status.FromString(value)


def test_the_largest_error_fits_the_trailers_of_any_peer() -> None:
    worst = errors.InvalidField.several([errors.Violation("f" * 1000, "e" * 1000, "字" * 1000)] * 100)
    size = sum(len(value) * 4 // 3 for _, value in to_status(worst).trailing_metadata)
    assert size + 3 * len(worst.message.encode()) < 8192


def test_violations_beyond_the_fifth_are_counted() -> None:
    error = errors.InvalidField.several([errors.Violation("f", "1", 2)] * 7)
    assert error.message.endswith("; and 2 more")


def test_several_violations_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        errors.InvalidField.several([])


def test_overload_says_when_to_try_again(channel: grpc.Channel) -> None:
    error = failure(channel, "Overloaded")
    status = rpc_status.from_call(call_of(error))
    assert status is not None
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 250


def test_a_bug_is_told_by_a_fixed_message_alone(channel: grpc.Channel) -> None:
    error = failure(channel, "boom")
    assert call_of(error).code() is grpc.StatusCode.INTERNAL
    assert call_of(error).details() == "internal error"
    assert "secret" not in str(call_of(error).trailing_metadata())
    info = error_info(error)
    assert info is not None
    assert info.reason == "INTERNAL"


def test_an_error_class_without_a_code_of_its_own_is_a_bug() -> None:
    class Forgotten(errors.NotFound):
        pass

    assert status_code(Forgotten("x")) is grpc.StatusCode.INTERNAL
    assert to_status(Forgotten("the secret")).details == "internal error"


def test_a_client_gets_the_domain_error_back(channel: grpc.Channel) -> None:
    missing = from_rpc_error(failure(channel, "GenerationNotLoaded"))
    assert isinstance(missing, errors.GenerationNotLoaded)
    assert (missing.wanted, missing.held) == (9, (7, 8))
    busy = from_rpc_error(failure(channel, "Overloaded"))
    assert isinstance(busy, errors.Overloaded)
    assert busy.retry_after_seconds == pytest.approx(0.25)
    loading = from_rpc_error(failure(channel, "NotReady"))
    assert isinstance(loading, errors.NotReady)
    assert loading.message == "not ready: model server does not answer"
    assert isinstance(from_rpc_error(failure(channel, "DeadlineSpent")), errors.DeadlineSpent)
    assert from_rpc_error(failure(channel, "boom")) is None
    assert from_rpc_error(failure(channel, "abort")) is None


def test_the_transports_own_failures_become_domain_errors(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as late:
        say_stub(channel)(StringValue(value="sleep 0.5"), timeout=0.05)
    assert isinstance(from_rpc_error(late.value), errors.DeadlineSpent)
    with connected("127.0.0.1:1") as nowhere, pytest.raises(grpc.RpcError) as gone:
        say_stub(nowhere)(StringValue(value="x"), timeout=5)
    assert isinstance(from_rpc_error(gone.value), errors.NotReady)


def test_what_operators_alone_should_read_is_logged_and_not_told() -> None:
    error = errors.NotReady("the model server does not answer", "model server at 10.0.0.1:8500: refused")
    assert error.loggable == {
        "why": "the model server does not answer",
        "detail": "model server at 10.0.0.1:8500: refused",
    }
    assert b"10.0.0.1" not in rpc_status_of(error).SerializeToString()
    assert "10.0.0.1" not in str(error)


def test_what_identifies_people_stays_out_of_the_log() -> None:
    error = errors.UserNotFound("alice")
    assert error.metadata == {"user_id": "alice"}
    assert error.loggable == {}
