from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from twostage.commands.recommend import recommend
from twostage.errors import InvalidField
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc

# Nobody listens there: what is refused before a call says something else.
_NOWHERE = ["--address", "127.0.0.1:1", "--timeout-ms", "300"]
# What Python makes of an argument with the bytes "b", 0xff.
_NO_TEXT = "b\udcff"


class Gateway(gateway_pb2_grpc.RecommendationServiceServicer):
    """Knows two rankers, and answers one item."""

    def __init__(self) -> None:
        self.request = gateway_pb2.RecommendRequest()

    def Recommend(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        del context
        self.request = request
        if request.ranker == "nope":
            raise InvalidField("ranker", "one of content, deepfm", request.ranker)
        response = gateway_pb2.RecommendResponse(
            request_id="r1", generation=7, rung=gateway_pb2.RUNG_FULL, ranker="deepfm"
        )
        item = response.recommendations.add(item_id="[b]i1", title="One", score=0.5, candidate_rank=3)
        item.sources.append("popular")
        item.action_scores["liked"] = 0.25
        if request.trace:
            item.trace.steps.extend(["found by popular at 3 of 500", "ranked 4 by liked 0.25", "pinned to 1"])
        if request.explain:
            item.reasons.append("because you read Two")
            item.explanations.append(
                common_pb2.Explanation(
                    item_id="i2",
                    title="Two [x]",
                    attention=0.5,
                    similarity=0.25,
                    retrieval_part=0.125,
                    ranking_effect=-0.75,
                )
            )
            item.explanations.append(common_pb2.Explanation(item_id="i3", ranking_effect=1.5))
        return response


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Gateway, str]]:
    servicer = Gateway()

    def register(server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server)

    with ServiceServer("gateway", [], register, ServiceSettings(), registry=CollectorRegistry()) as server:
        yield servicer, server.address


def test_ranker_blend_and_pins_reach_the_gateway(gateway: tuple[Gateway, str]) -> None:
    servicer, address = gateway
    arguments = ["--ranker", "deepfm", "--blend", "liked=1", "--blend", "a=b=0.25", "--pin", "x", "--pin", "y,z"]
    result = CliRunner().invoke(recommend, [*arguments, "--explain", "--trace", "--address", address])
    assert result.exit_code == 0, result.output
    request = servicer.request
    assert (request.ranker, dict(request.blend)) == ("deepfm", {"liked": 1.0, "a=b": 0.25})
    assert list(request.pinned_item_ids) == ["x", "y,z"]
    assert (request.explain, request.trace) == (True, True)
    CliRunner().invoke(recommend, ["--address", address])
    assert (servicer.request.ranker, len(servicer.request.blend), servicer.request.trace) == ("", 0, False)


def test_what_carried_an_item_and_what_each_stage_did_to_it_is_printed(gateway: tuple[Gateway, str]) -> None:
    output = CliRunner().invoke(recommend, ["--explain", "--trace", "--address", gateway[1]]).output
    lines = output.splitlines()
    start = lines.index("1. One")
    of, to = "of the retrieval score,", "to the ranker's log odds"
    assert lines[start + 1 : start + 6] == [
        "  found by popular at 3 of 500",
        "  ranked 4 by liked 0.25",
        "  pinned to 1",
        f"  carried by Two [x] (i2): attention 0.50 · likeness 0.25 = 0.125 {of} -0.750 {to}",
        f"  carried by i3: likeness 0.00, +1.500 {to}",
    ]
    assert "because you read Two" in output
    assert "ranked by deepfm" in output
    plain = CliRunner().invoke(recommend, ["--address", gateway[1]]).output
    assert "1. One" not in plain


def test_trace_and_explanations_are_in_the_json(gateway: tuple[Gateway, str]) -> None:
    result = CliRunner().invoke(recommend, ["--json", "--explain", "--trace", "--address", gateway[1]])
    item = json.loads(result.output)["recommendations"][0]
    assert item["trace"]["steps"][2] == "pinned to 1"
    assert item["explanations"][0]["ranking_effect"] == -0.75


def test_what_the_gateway_refuses_is_one_line(gateway: tuple[Gateway, str]) -> None:
    result = CliRunner().invoke(recommend, ["--ranker", "nope", "--address", gateway[1]])
    assert result.exit_code == 1
    assert result.stderr == "Error: ranker: expected one of content, deepfm, received 'nope'\n"


@pytest.mark.parametrize(
    ("blend", "message"),
    [
        (["liked"], "--blend: expected ACTION=WEIGHT, received 'liked'"),
        (["=1"], "--blend: expected ACTION=WEIGHT, received '=1'"),
        (["liked="], "--blend: expected a number after the =, received 'liked='"),
        (["liked=much"], "--blend: expected a number after the =, received 'liked=much'"),
        (["liked=1", "liked=2"], "--blend: expected each action once, received 'liked' twice"),
        ([_NO_TEXT + "=1"], "--blend: expected UTF-8, received b'b\\xff=1'"),
    ],
)
def test_a_blend_that_is_none_is_refused_in_one_line(blend: list[str], message: str) -> None:
    arguments = [argument for text in blend for argument in ("--blend", text)]
    result = CliRunner().invoke(recommend, [*_NOWHERE, *arguments])
    assert (result.exit_code, result.output) == (1, f"Error: {message}\n")


@pytest.mark.parametrize("count", ["99999999999", "-2147483649", "2147483648"])
def test_a_count_beyond_32_bits_is_refused_with_its_bounds(count: str) -> None:
    result = CliRunner().invoke(recommend, [*_NOWHERE, "--count", count])
    assert result.exit_code == 2
    assert f"Invalid value for '--count': {count} is not in the range -2147483648<=x<=2147483647." in result.output


@pytest.mark.parametrize("count", ["0", "-3", "201", "2000000000"])
def test_other_counts_are_left_to_the_gateway(count: str) -> None:
    result = CliRunner().invoke(recommend, [*_NOWHERE, "--count", count])
    assert result.exit_code == 1
    assert result.output.startswith("Error: gateway at 127.0.0.1:1: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", _NO_TEXT],
        ["--items", f"a,{_NO_TEXT}"],
        ["--tag", _NO_TEXT],
        ["--exclude", _NO_TEXT],
        ["--attribute", _NO_TEXT],
        ["--ranker", _NO_TEXT],
        ["--pin", _NO_TEXT],
        ["--any-of", "tags", _NO_TEXT],
        ["--any-of", _NO_TEXT, "a"],
        ["--address", _NO_TEXT],
    ],
)
def test_bytes_that_are_no_text_are_refused_in_one_line_that_names_the_option(arguments: list[str]) -> None:
    result = CliRunner().invoke(recommend, arguments)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {arguments[0]}: expected UTF-8, received b'")
    assert result.output.endswith("b\\xff'\n")
    assert result.output.count("\n") == 1


def test_the_help_says_which_counts_make_sense() -> None:
    output = CliRunner().invoke(recommend, ["--help"]).output
    assert "How many, 1..200." in output
    assert "2147483647" not in output
