from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.unit.twostage.rpc.echo import call_of, connected, echo_server, failed, say_stub
from twostage.rpc.settings import DEFAULT_MAX_MESSAGE_BYTES, ServiceSettings
from twostage.v1 import common_pb2, gateway_pb2


def test_a_message_that_is_too_large_is_refused_and_one_below_is_not() -> None:
    with echo_server(max_message_bytes=4096) as server, connected(server.address) as channel:
        say = say_stub(channel)
        assert len(say(StringValue(value="x" * 4000), timeout=10).value) == 4000
        error = call_of(failed(lambda: say(StringValue(value="x" * 5000), timeout=10)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert say(StringValue(value="still here"), timeout=10).value == "still here"


def test_metadata_that_is_too_large_is_refused_and_metadata_below_is_not() -> None:
    with echo_server(max_metadata_bytes=2048) as server, connected(server.address) as channel:
        say = say_stub(channel)
        say(StringValue(value="x"), timeout=10, metadata=(("x-a", "a" * 1500),))
        error = call_of(failed(lambda: say(StringValue(value="x"), timeout=10, metadata=(("x-a", "a" * 2100),))))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        many = tuple((f"x-{number}", "a" * 100) for number in range(30))
        error = call_of(failed(lambda: say(StringValue(value="x"), timeout=10, metadata=many)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert say(StringValue(value="still here"), timeout=10).value == "still here"


def test_a_token_of_an_identity_provider_passes_by_default() -> None:
    with echo_server() as server, connected(server.address) as channel:
        metadata = (("authorization", "Bearer " + "t" * 8192),)
        assert say_stub(channel)(StringValue(value="x"), timeout=10, metadata=metadata).value == "x"


def test_a_connection_carries_no_more_requests_at_a_time_than_allowed() -> None:
    with echo_server(max_concurrent_streams=2, max_workers=8) as server, connected(server.address) as channel:
        say = say_stub(channel)
        # The first connects, so that the server's limit is known.
        say(StringValue(value="x"), timeout=10)
        calls = [say.future(StringValue(value="sleep 0.05"), timeout=10) for _ in range(8)]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, server.in_flight_count)
            time.sleep(0.001)
        codes = [call.code() for call in calls]
    assert most == 2
    # gRPC's client starts one too many at times, which the server refuses before it looks at it.
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert codes.count(grpc.StatusCode.OK) >= 2


@pytest.mark.parametrize("offered", [True, False])
def test_reflection_is_offered_or_not(offered: bool) -> None:
    with echo_server(reflection=offered) as server, connected(server.address) as channel:
        request_class: Any = reflection_pb2.ServerReflectionRequest
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter([request_class(list_services="")]), timeout=10)
        if offered:
            assert next(answers).list_services_response.service
        else:
            assert call_of(failed(lambda: next(answers))).code() is grpc.StatusCode.UNIMPLEMENTED


def largest_request() -> gateway_pb2.RecommendRequest:
    """Every list as long as the contract lets it be, every text too."""

    def texts(count: int, byte_count: int = 256) -> list[str]:
        return [f"{number:05d}".ljust(byte_count, "x") for number in range(count)]

    condition = common_pb2.Condition(
        attribute="a" * 128,
        any_of=texts(1000),
        none_of=texts(1000),
        range=common_pb2.Range(min=-1.5, max=1.5),
    )
    request = gateway_pb2.RecommendRequest(
        user_id="u" * 256,
        recent_item_ids=texts(1000),
        interest_tags=texts(64),
        count=200,
        filter=common_pb2.Filter(conditions=[condition] * 32),
        exclude_item_ids=texts(10_000),
        include_seen=True,
        diversity=common_pb2.Diversity(
            strength=0.5, caps=[common_pb2.Cap(attribute="a" * 128, max_count=200) for _ in range(8)]
        ),
        attributes=texts(32, 128),
        explain=True,
        trace=True,
        ranker="r" * 64,
        blend=dict.fromkeys(texts(32, 128), 1.0),
        pinned_item_ids=texts(200),
        context=common_pb2.Context(
            surface="s" * 64,
            device="d" * 64,
            locale="l" * 64,
            attributes=dict.fromkeys(texts(32, 128), "v" * 128),
        ),
    )
    request.context.time.GetCurrentTime()
    return request


def test_the_largest_request_within_the_contracts_bounds_fits_and_little_more_is_taken() -> None:
    explain = gateway_pb2.ExplainRequest(request=largest_request(), item_id="i" * 256)
    size = explain.ByteSize()
    assert 0.9 * DEFAULT_MAX_MESSAGE_BYTES < size < DEFAULT_MAX_MESSAGE_BYTES
    assert ServiceSettings().max_message_bytes == DEFAULT_MAX_MESSAGE_BYTES
    with (
        echo_server() as server,
        grpc.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel,
    ):
        # Wrapped in a text: what counts are its bytes.
        answer = channel.unary_unary("/test.Echo/GetStatus", StringValue.SerializeToString, StringValue.FromString)
        assert answer(StringValue(value="x" * size), timeout=30).value == "here"
