from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from twostage.commands.similar import similar
from twostage.errors import ItemNotFound
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc

_NOWHERE = ["--address", "127.0.0.1:1", "--timeout-ms", "300"]
_NO_TEXT = "b\udcff"


class Gateway(gateway_pb2_grpc.RecommendationServiceServicer):
    """Knows one item, and answers what it was asked."""

    def __init__(self) -> None:
        self.request = gateway_pb2.RecommendationServiceSimilarItemsRequest()

    def SimilarItems(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.RecommendationServiceSimilarItemsRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendationServiceSimilarItemsResponse:
        del context
        self.request = request
        if request.item_id != "known":
            raise ItemNotFound(request.item_id)
        return gateway_pb2.RecommendationServiceSimilarItemsResponse(
            request_id="r1",
            items=[
                gateway_pb2.SimilarItem(item_id="[b]i1", score=0.98765, title="One", attributes={"tags": "x, y"}),
                gateway_pb2.SimilarItem(item_id="i2", score=0.5),
            ],
            shortfall=common_pb2.Shortfall(missing_count=3, reason=common_pb2.SHORTFALL_REASON_EXCLUDED),
            generation=7,
            rung=gateway_pb2.RUNG_POPULAR,
            rung_reason="retrieval late: slow",
            timings=[common_pb2.Timing(stage="retrieval", compute_ms=1.5, transport_ms=0.25)],
        )


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Gateway, str]]:
    servicer = Gateway()

    def register(server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server)

    with ServiceServer("gateway", [], register, ServiceSettings(), registry=CollectorRegistry()) as server:
        yield servicer, server.address


def test_what_is_asked_for_reaches_the_gateway(gateway: tuple[Gateway, str]) -> None:
    servicer, address = gateway
    arguments = ["known", "--count", "5", "--any-of", "tags", "x, y", "--exclude", "a, b", "--attribute", "tags"]
    assert CliRunner().invoke(similar, [*arguments, "--address", address]).exit_code == 0
    request = servicer.request
    assert (request.item_id, request.count, list(request.exclude_item_ids)) == ("known", 5, ["a", "b"])
    assert [(c.attribute, list(c.any_of)) for c in request.filter.conditions] == [("tags", ["x", "y"])]
    assert list(request.attributes) == ["tags"]
    CliRunner().invoke(similar, ["known", "--address", address])
    assert not servicer.request.HasField("count")


def test_the_answer_is_a_table_with_who_answered_and_what_is_missing(gateway: tuple[Gateway, str]) -> None:
    output = CliRunner().invoke(similar, ["known", "--attribute", "tags", "--address", gateway[1]]).output
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == ["item", "title", "tags", "score"]
    assert lines[1] == ["1", "[b]i1", "One", "x,", "y", "0.9877"]
    assert lines[2] == ["2", "i2", "0.5"]
    assert "generation 7 · RUNG_POPULAR (retrieval late: slow) · request r1" in output
    assert "3 missing: excluded" in output
    assert "retrieval 1.50 ms + 0.25 ms transport" in output


def test_the_answer_as_json(gateway: tuple[Gateway, str]) -> None:
    document = json.loads(CliRunner().invoke(similar, ["known", "--json", "--address", gateway[1]]).output)
    assert [item["item_id"] for item in document["items"]] == ["[b]i1", "i2"]
    assert document["rung"] == "RUNG_POPULAR"


def test_an_unknown_item_is_said_in_one_line(gateway: tuple[Gateway, str]) -> None:
    result = CliRunner().invoke(similar, ["nix", "--address", gateway[1]])
    assert result.exit_code == 1
    assert result.stderr == "Error: item_id: expected an item of the catalogue, received 'nix'\n"


def test_a_gateway_that_is_not_there_is_said_in_one_line() -> None:
    result = CliRunner().invoke(similar, ["a", *_NOWHERE])
    assert result.exit_code == 1
    assert result.output.startswith("Error: gateway at 127.0.0.1:1: UNAVAILABLE: ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [([_NO_TEXT], "ITEM_ID"), (["a", "--exclude", _NO_TEXT], "--exclude"), (["a", "--count", "2147483648"], "")],
)
def test_what_no_request_can_carry_is_refused_by_name(arguments: list[str], name: str) -> None:
    result = CliRunner().invoke(similar, [*arguments, *_NOWHERE])
    if name:
        assert result.exit_code == 1
        assert result.output == f"Error: {name}: expected UTF-8, received b'b\\xff'\n"
    else:
        assert result.exit_code == 2
        assert "Invalid value for '--count': 2147483648 is not in the range" in result.output


def test_without_an_item_the_usage_is_shown() -> None:
    result = CliRunner().invoke(similar, [])
    assert result.exit_code == 2
    assert "Missing argument 'ITEM_ID'" in result.output
