from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from twostage.commands.user import user
from twostage.errors import UserNotFound
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

_NOWHERE = ["--address", "127.0.0.1:1", "--timeout-ms", "300"]


class Gateway(gateway_pb2_grpc.RecommendationServiceServicer):
    """Knows one person, with three events."""

    def __init__(self) -> None:
        self.asked_count: int | None = None
        self.deleted: list[str] = []

    def GetUser(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.GetUserRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.GetUserResponse:
        del context
        self.asked_count = request.max_event_count if request.HasField("max_event_count") else None
        if request.user_id != "ann":
            raise UserNotFound(request.user_id)
        response = gateway_pb2.GetUserResponse(user_id="ann", event_count=3)
        rated = response.events.add(event_id="e2", item_id="[b]i2", action="rated", value=4.5, request_id="r9")
        rated.time.seconds = 1_700_000_000
        response.events.add(item_id="i1", action="to_read").time.seconds = 0
        response.expire_time.seconds = 1_800_000_000
        return response

    def DeleteUser(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.DeleteUserRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.DeleteUserResponse:
        del context
        if request.user_id != "ann":
            raise UserNotFound(request.user_id)
        self.deleted.append(request.user_id)
        return gateway_pb2.DeleteUserResponse(deleted_event_count=1_234)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Gateway, str]]:
    servicer = Gateway()

    def register(server: grpc.Server) -> None:
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server)

    with ServiceServer("gateway", [], register, ServiceSettings(), registry=CollectorRegistry()) as server:
        yield servicer, server.address


def test_a_person_is_shown_as_a_table(running: tuple[Gateway, str]) -> None:
    servicer, address = running
    result = CliRunner().invoke(user, ["show", "ann", "--events", "2", "--address", address])
    assert result.exit_code == 0, result.output
    assert servicer.asked_count == 2
    rated, wished = [line.split() for line in result.output.splitlines()[1:3]]
    assert rated == ["2023-11-14T22:13:20Z", "rated", "4.5", "[b]i2", "e2", "r9"]
    assert wished == ["to_read", "i1"]
    assert "3 events, the newest 2 of them above; forgotten on 2027-01-15T08:00:00Z" in result.output


def test_a_person_is_shown_as_json(running: tuple[Gateway, str]) -> None:
    result = CliRunner().invoke(user, ["show", "ann", "--json", "--address", running[1]])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert (shown["event_count"], shown["events"][0]["value"]) == (3, 4.5)


def test_a_person_is_deleted_once_that_is_confirmed(running: tuple[Gateway, str]) -> None:
    servicer, address = running
    refused = CliRunner().invoke(user, ["delete", "ann", "--address", address], input="n\n")
    assert (refused.exit_code, servicer.deleted) == (1, [])
    agreed = CliRunner().invoke(user, ["delete", "ann", "--address", address], input="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert "deleted, with 1,234 events" in agreed.output
    unasked = CliRunner().invoke(user, ["delete", "ann", "--yes", "--address", address])
    assert (unasked.exit_code, unasked.output) == (0, "deleted, with 1,234 events\n")
    assert servicer.deleted == ["ann", "ann"]


@pytest.mark.parametrize("arguments", [["show", "nobody"], ["delete", "nobody", "--yes"]])
def test_somebody_unknown_is_told_in_one_line(running: tuple[Gateway, str], arguments: list[str]) -> None:
    result = CliRunner().invoke(user, [*arguments, "--address", running[1]])
    assert result.exit_code == 1
    # The server in this process logs to the same stream.
    assert result.output.splitlines()[-1] == "Error: user_id: expected a known user, received 'nobody'"


@pytest.mark.parametrize("arguments", [["show", "ann"], ["delete", "ann", "--yes"]])
def test_a_gateway_that_is_not_there_is_told_in_one_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(user, [*arguments, *_NOWHERE])
    assert result.exit_code == 1
    assert result.output.startswith("Error: gateway at 127.0.0.1:1: ")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["show", "b\udcff"], ["delete", "b\udcff", "--yes"]])
def test_what_is_no_text_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(user, [*arguments, *_NOWHERE])
    assert result.exit_code == 1
    assert result.output.startswith("Error: USER_ID: expected UTF-8, received ")
