from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from twostage.commands.status import status
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc

Response = gateway_pb2.RecommendationServiceGetStatusResponse


def service(held: dict[int, int], active: int, **more: Any) -> common_pb2.ServiceStatus:
    return common_pb2.ServiceStatus(
        serving=True,
        version="1.2.3",
        uptime_seconds=61,
        generations=[
            common_pb2.GenerationStatus(generation=number, item_count=count, active=number == active)
            for number, count in held.items()
        ],
        **more,
    )


def stage(name: str, port: int, told: common_pb2.ServiceStatus) -> gateway_pb2.StageStatus:
    return gateway_pb2.StageStatus(stage=name, address=f"10.0.0.1:{port}", status=told)


class Gateway(gateway_pb2_grpc.RecommendationServiceServicer):
    """Tells what a test says."""

    def __init__(self) -> None:
        self.response = Response()

    def GetStatus(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.RecommendationServiceGetStatusRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendationServiceGetStatusResponse:
        del request, context
        return self.response


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Gateway, str]]:
    servicer = Gateway()

    def register(server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server)

    with ServiceServer("gateway", [], register, ServiceSettings(), registry=CollectorRegistry()) as server:
        yield servicer, server.address


def cells(output: str) -> dict[str, list[str]]:
    """The rows of the table by their address, and its head by ``address``."""
    rows = [[cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in output.splitlines()]
    return {row[1]: row for row in rows if len(row) > 2}


def test_who_holds_which_generation_is_a_column_for_each(gateway: tuple[Gateway, str]) -> None:
    servicer, address = gateway
    servicer.response = Response(
        status=service({3: 12_345, 2: 12_000}, 3, libraries={"python": "3.11"}),
        stages=[
            stage("retrieval", 1, service({3: 12_345, 2: 12_000}, 3)),
            stage("retrieval", 2, service({2: 12_000}, 2, preparing_generation=3)),
            stage("ranking", 3, service({2: 12_000}, 2)),
        ],
    )
    result = CliRunner().invoke(status, ["--address", address])
    assert result.exit_code == 0, result.output
    table = cells(result.output)
    assert table["address"] == ["service", "address", "state", "generation 3", "generation 2", "version", "up"]
    assert table[address] == [
        "gateway",
        address,
        "SERVING",
        "active, 12,345 items",
        "held, 12,000 items",
        "1.2.3",
        "61 s",
    ]
    assert table["10.0.0.1:2"][2:5] == ["SERVING, preparing 3", "-", "active, 12,000 items"]
    assert "gateway: python 3.11" in result.output
    assert "refused" not in result.output


def test_refused_generations_are_named_with_who_refuses_them_and_why(gateway: tuple[Gateway, str]) -> None:
    servicer, address = gateway
    damaged = [common_pb2.RefusedGeneration(generation=4, reason="index.faiss: expected sha256 [a], found b")]
    servicer.response = Response(
        status=service({3: 10}, 3),
        stages=[
            stage("retrieval", 1, service({3: 10}, 3, refused=damaged)),
            stage("retrieval", 2, service({3: 10}, 3, refused=damaged)),
        ],
    )
    result = CliRunner().invoke(status, ["--address", address])
    assert result.exit_code == 0
    expected = (
        "retrieval at 10.0.0.1:1, retrieval at 10.0.0.1:2 refused generation 4: "
        "index.faiss: expected sha256 [a], found b"
    )
    assert result.output.splitlines().count(expected) == 1


def test_servers_that_do_not_serve_are_told_and_the_exit_code_says_so(gateway: tuple[Gateway, str]) -> None:
    servicer, address = gateway
    loading = common_pb2.ServiceStatus(detail="waiting: the model server")
    servicer.response = Response(
        status=service({1: 10}, 1),
        stages=[
            stage("ranking", 1, loading),
            gateway_pb2.StageStatus(stage="retrieval", address="10.0.0.1:2", error="UNAVAILABLE: [gone]"),
        ],
    )
    result = CliRunner().invoke(status, ["--address", address])
    assert result.exit_code == 1
    table = cells(result.output)
    assert table["10.0.0.1:1"][2] == "NOT_SERVING waiting: the model server"
    assert table["10.0.0.1:2"][2] == "no answer: UNAVAILABLE: [gone]"
    assert result.output.endswith("Error: 2 of 3 servers do not serve\n")


def test_a_gateway_that_is_not_there_is_one_line() -> None:
    result = CliRunner().invoke(status, ["--address", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: gateway at 127.0.0.1:1: UNAVAILABLE: ")
    assert result.output.count("\n") == 1
