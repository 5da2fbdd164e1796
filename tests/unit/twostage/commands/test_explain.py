from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from twostage.commands.explain import explain
from twostage.errors import ItemNotFound
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc


class Gateway(gateway_pb2_grpc.RecommendationServiceServicer):
    """Knows one item that is recommended and one that is not."""

    def __init__(self) -> None:
        self.request = gateway_pb2.ExplainRequest()

    def Explain(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.ExplainRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.ExplainResponse:
        del context
        self.request = request
        response = gateway_pb2.ExplainResponse(request_id="r1", generation=7, rung=gateway_pb2.RUNG_FULL)
        response.recommendation.item_id = request.item_id
        response.recommendation.title = "A [b]title"
        response.steps.add(stage="user", rule="seen", effect=gateway_pb2.EXPLAIN_EFFECT_KEPT, words="it is not seen")
        if request.item_id == "in":
            response.outcome, response.position = gateway_pb2.ITEM_OUTCOME_RECOMMENDED, 2
            response.recommendation.reasons.append("because you read [it]")
            response.arms.add(experiment="e", arm="a")
        elif request.item_id == "out":
            response.outcome, response.lost_by = gateway_pb2.ITEM_OUTCOME_PASSED_OVER, "selection: cap tags"
            lost = response.steps.add(
                stage="selection", rule="cap tags", effect=gateway_pb2.EXPLAIN_EFFECT_LOST, words="three [have] it"
            )
            lost.numbers.update({"max_count": 3, "score": 0.25})
        else:
            raise ItemNotFound(request.item_id)
        return response


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Gateway, str]]:
    servicer = Gateway()
    server = ServiceServer(
        "gateway",
        ["twostage.v1.RecommendationService"],
        lambda grpc_server: gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, grpc_server),
        ServiceSettings(port=0),
        registry=CollectorRegistry(),
    )
    with server:
        yield servicer, server.address


def run(address: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(explain, [*arguments, "--address", address])
    return result.exit_code, result.output


def test_a_recommended_item_is_told_with_its_place_and_reasons(gateway: tuple[Gateway, str]) -> None:
    code, output = run(gateway[1], "in", "--user", "ann")
    assert code == 0
    assert "A [b]title (in) is recommended at 2" in output
    assert "because you read [it]" in output
    assert "generation 7 · RUNG_FULL · request r1" in output
    assert "arms e=a" in output


def test_a_lost_item_is_told_with_what_lost_it_and_the_numbers(gateway: tuple[Gateway, str]) -> None:
    code, output = run(gateway[1], "out")
    assert code == 0
    assert "A [b]title (out) was passed over, lost by selection: cap tags" in output
    assert "three [have] it" in output
    assert "selection: max_count 3 · score 0.25" in output
    as_json = json.loads(run(gateway[1], "out", "--json")[1])
    assert as_json["lost_by"] == "selection: cap tags"


def test_every_option_is_part_of_the_request(gateway: tuple[Gateway, str]) -> None:
    arguments = ["--items", "a,b", "--tag", "t", "--count", "5", "--any-of", "language", "eng", "--exclude", "c"]
    arguments += ["--include-seen", "--diversity", "0.5", "--cap", "tags", "2", "--ranker", "r", "--blend", "x=2"]
    assert run(gateway[1], "in", *arguments, "--pin", "p")[0] == 0
    assert gateway[0].request == gateway_pb2.ExplainRequest(
        item_id="in",
        request=gateway_pb2.RecommendRequest(
            recent_item_ids=["a", "b"],
            interest_tags=["t"],
            count=5,
            filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["eng"])]),
            exclude_item_ids=["c"],
            include_seen=True,
            diversity=common_pb2.Diversity(strength=0.5, caps=[common_pb2.Cap(attribute="tags", max_count=2)]),
            ranker="r",
            blend={"x": 2},
            pinned_item_ids=["p"],
        ),
    )


def test_an_unknown_item_is_said_in_one_line(gateway: tuple[Gateway, str]) -> None:
    code, output = run(gateway[1], "nix")
    assert code == 1
    assert output.endswith("Error: item_id: expected an item of the catalogue, received 'nix'\n")
    assert "Traceback" not in output
