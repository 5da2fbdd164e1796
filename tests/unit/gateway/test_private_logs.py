"""Whatever happens, neither a person's id nor a client's key or token gets into what the gateway writes."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from gateway.server import build
from gateway.settings import GatewaySettings
from tests.logging_state import logging_restored
from tests.unit.gateway.access.tokens import jwk_set, token_of_now
from tests.unit.gateway.catalogue import publish_items
from twostage.client import CallFailed, Client, new_event
from twostage.rpc.log import configure_logging
from twostage.rpc.security.api_keys import key_digest, new_key
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import load_settings
from twostage.v1 import common_pb2, gateway_pb2

PERSON = "person-of-interest@example.org"
KEY = new_key()
NOWHERE = "127.0.0.1:1"


class Written:
    """All that a gateway writes while a test runs."""

    def __init__(self, stream: io.StringIO, captured: pytest.CaptureFixture[str], records: Any) -> None:
        self._stream, self._captured, self._records = stream, captured, records
        self.registry = CollectorRegistry()

    def text(self) -> str:
        out, err = self._captured.readouterr()
        records = "\n".join(record.getMessage() for record in self._records.records)
        return "\n".join((self._stream.getvalue(), out, err, records, generate_latest(self.registry).decode()))


@pytest.fixture
def written(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[Written]:
    stream = io.StringIO()
    with logging_restored():
        configure_logging("gateway", level="DEBUG", log_format=getattr(request, "param", "json"), stream=stream)
        yield Written(stream, capfd, caplog)


def serve(folder: Path, written: Written) -> ServiceServer:
    publish_items(folder / "store", popularity=[1.0, 3.0, 2.0])
    (folder / "jwks.json").write_bytes(jwk_set())
    (folder / "clients.yaml").write_text(
        f"clients: [{{name: shop, keys: [{{sha256: {key_digest(KEY).hex()}}}], may_explain: true}}]\n"
        'jwt: {jwks_file: jwks.json, issuer: "https://id.example", audience: twostage}\n'
    )
    flags = {"store": folder / "store", "users": folder / "users.sqlite", "retrieval": NOWHERE, "ranking": NOWHERE}
    more = {"clients": folder / "clients.yaml", "log_requests": "all", "slow_request_ms": 0, "log_level": "DEBUG"}
    settings = load_settings(GatewaySettings, {**flags, "port": 0, "metrics_port": 0, **more})
    server, prepare = build(settings, structlog.get_logger(service="gateway"), written.registry)
    prepare()
    return server


def ask_everything(server: ServiceServer, **who: Any) -> None:
    """Calls every method about the person, rightly and wrongly; failures are expected."""
    broken = common_pb2.Filter(conditions=[common_pb2.Condition(attribute=PERSON, any_of=[PERSON])])
    request = gateway_pb2.RecommendRequest
    with Client(server.address, timeout_seconds=10, **who) as client:
        stub = client._stub
        calls: list[tuple[Any, Any]] = [
            (stub.Recommend, request(user_id=PERSON, count=2)),
            (stub.Recommend, request(user_id=PERSON, count=2, explain=True, trace=True)),
            (stub.Recommend, request(user_id=PERSON, count=-1)),
            (stub.Recommend, request(user_id=PERSON + "x" * 300)),
            (stub.Recommend, request(user_id=PERSON, filter=broken)),
            (stub.Recommend, request(user_id=PERSON, attributes=[PERSON], ranker=PERSON, blend={PERSON: 1.0})),
            (stub.RecordEvents, gateway_pb2.RecordEventsRequest(events=[new_event(PERSON, "i1", "to_read")])),
            (stub.RecordEvents, gateway_pb2.RecordEventsRequest(events=[new_event(PERSON, "nix", PERSON)])),
            (stub.SimilarItems, gateway_pb2.RecommendationServiceSimilarItemsRequest(item_id="nix")),
            (stub.Explain, gateway_pb2.ExplainRequest(request=request(user_id=PERSON), item_id="i1")),
            (stub.GetUser, gateway_pb2.GetUserRequest(user_id=PERSON)),
            (stub.DeleteUser, gateway_pb2.DeleteUserRequest(user_id=PERSON)),
            (stub.GetUser, gateway_pb2.GetUserRequest(user_id=PERSON)),
        ]
        for method, message in calls:
            with suppress(grpc.RpcError):
                method(message, timeout=10)


def check(text: str, *secrets: str) -> None:
    for secret in (PERSON, KEY, *secrets):
        assert secret not in text
    assert "Recommend" in text


@pytest.mark.parametrize("written", ["json", "console"], indirect=True)
def test_ordinary_and_wrong_requests_show_nobody(tmp_path: Path, written: Written) -> None:
    token = token_of_now("shop")
    wrong = [new_key(), token_of_now("shop", iss="https://evil.example"), token_of_now("stranger")]
    with serve(tmp_path, written) as server:
        ask_everything(server, api_key=KEY)
        ask_everything(server, token=token)
        ask_everything(server, api_key=wrong[0])
        ask_everything(server, token=wrong[1])
        ask_everything(server, token=wrong[2])
    text = written.text()
    check(text, token, *wrong)
    assert "shop" in text
    assert "stranger" not in text


def test_a_broken_user_store_shows_nobody(tmp_path: Path, written: Written) -> None:
    with serve(tmp_path, written) as server:
        vandal = sqlite3.connect(tmp_path / "users.sqlite")
        tables = [name for (name,) in vandal.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if not table.startswith("sqlite_"):
                vandal.execute(f"DROP TABLE {table}")
        vandal.close()
        ask_everything(server, api_key=KEY)
        with Client(server.address, api_key=KEY, timeout_seconds=10) as client, pytest.raises(CallFailed):
            client.record([new_event(PERSON, "i1", "to_read")])
    text = written.text()
    check(text)
    assert "user store" in text


@pytest.mark.parametrize("method", ["Recommend", "RecordEvents", "GetUser", "Explain"])
def test_a_defect_whose_error_speaks_of_the_person_shows_nobody(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    known: dict[str, str] = {}

    def fail(_self: object, request: object, _context: object) -> None:
        if PERSON + "x" in str(request):
            # Of somebody else, whose id is refused for its length.
            raise RuntimeError("another defect")
        try:
            known[PERSON]
        except KeyError as error:
            raise RuntimeError(f"no taste of {PERSON}: {request}") from error

    monkeypatch.setattr("gateway.servicer.GatewayServicer." + method, fail)
    with serve(tmp_path, written) as server:
        ask_everything(server, api_key=KEY)
    text = written.text()
    check(text)
    assert "INTERNAL" in text
    assert "RuntimeError" in text
    assert "KeyError" in text


def test_every_method_with_a_person_is_asked_here() -> None:
    methods = set(gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].methods_by_name)
    assert methods == {"Recommend", "SimilarItems", "RecordEvents", "Explain", "GetUser", "DeleteUser", "GetStatus"}
