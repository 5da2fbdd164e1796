from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.integration.gateway.servers import Servers
from tests.ports import free_port
from twostage.client import CallFailed, Client, DeadlineExceeded, GatewayUnavailable, InvalidRequest
from twostage.v1 import common_pb2, gateway_pb2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (gateway_pb2.RecommendRequest(count=0), "count: expected 1 to 200, received 0"),
        (gateway_pb2.RecommendRequest(count=-7), "count: expected 1 to 200, received -7"),
        (gateway_pb2.RecommendRequest(count=2**31 - 1), "count: expected 1 to 200"),
        (gateway_pb2.RecommendRequest(user_id="x" * 257), "user_id: expected 0 to 256 bytes"),
        (gateway_pb2.RecommendRequest(attributes=["nope"]), "attributes[0]: expected one of tags, language, year"),
        (
            gateway_pb2.RecommendRequest(
                filter=common_pb2.Filter(
                    conditions=[common_pb2.Condition(attribute="tags", range=common_pb2.Range(min=1))]
                )
            ),
            "filter.conditions[0].range: expected any_of or none_of",
        ),
    ],
    ids=["zero", "negative", "huge", "long id", "attribute", "refused by retrieval"],
)
def test_bad_input_is_refused_by_name_and_the_gateway_goes_on(
    servers: Servers, client: Client, request_: gateway_pb2.RecommendRequest, message: str
) -> None:
    with grpc.insecure_channel(servers.address) as channel:
        call = channel.unary_unary(
            "/twostage.v1.RecommendationService/Recommend",
            request_serializer=gateway_pb2.RecommendRequest.SerializeToString,
            response_deserializer=gateway_pb2.RecommendResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(request_, timeout=5)
    call_: Any = caught.value
    assert call_.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in call_.details()
    assert len(client.recommend().recommendations) == 20


def test_the_client_names_what_went_wrong(client: Client) -> None:
    with pytest.raises(InvalidRequest, match=r"^count: expected 1 to 200, received 201$") as invalid:
        client.recommend(count=201)
    assert invalid.value.reason == "INVALID_FIELD"
    with pytest.raises(InvalidRequest, match="events: expected 1 to 1000 entries"):
        client.record([])
    with pytest.raises(DeadlineExceeded):
        client.recommend(timeout_seconds=0.0001)
    address = f"127.0.0.1:{free_port()}"
    with Client(address) as nobody, pytest.raises(GatewayUnavailable, match=f"gateway at {address}: UNAVAILABLE"):
        nobody.recommend()
    assert issubclass(GatewayUnavailable, CallFailed)
