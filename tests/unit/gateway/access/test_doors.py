from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import CapturingLogger

from gateway.access.doors import Doors
from gateway.server import build
from gateway.settings import GatewaySettings
from tests.certificates import Authority
from tests.unit.gateway.catalogue import publish_items
from tests.unit.twostage.rpc.echo import call_of
from twostage.client import Client, PermissionDenied, Unauthenticated
from twostage.rpc.caller import DEFAULT_PRIORITY
from twostage.rpc.security.api_keys import key_digest, new_key
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.settings import SettingsError, load_settings
from twostage.v1 import gateway_pb2

KEY, EXPLAINED_KEY = new_key(), new_key()
CLIENTS = (
    f"clients:\n  - {{name: shop, keys: [{{sha256: {key_digest(KEY).hex()}}}]}}\n"
    f"  - {{name: desk, may_explain: true, keys: [{{sha256: {key_digest(EXPLAINED_KEY).hex()}}}]}}\n"
)


def settings(folder: Path, **changed: object) -> GatewaySettings:
    nowhere = "127.0.0.1:1"
    usual = {"store": folder / "store", "users": folder / "users.sqlite", "retrieval": nowhere, "ranking": nowhere}
    return load_settings(GatewaySettings, {**usual, "port": 0, "metrics_port": 0, **changed})


def doors(folder: Path, logger: Any, **changed: object) -> Doors:
    registry = CollectorRegistry()
    return Doors(settings(folder, **changed), registry, SecurityMetrics(registry), logger)


@contextmanager
def serving(folder: Path, **changed: object) -> Iterator[str]:
    publish_items(folder / "store", popularity=[1.0, 3.0, 2.0])
    server, prepare = build(settings(folder, **changed), structlog.get_logger(), CollectorRegistry())
    prepare()
    with server:
        yield server.address


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stage_tls_ca": "a", "stage_tls_certificate": "a"}, "stage_tls_key: expected a file beside stage_tls_cert"),
        ({"stage_tls_ca": "a", "stage_tls_key": "a"}, "stage_tls_certificate: expected a file beside stage_tls_key"),
        ({"stage_tls_certificate": "a", "stage_tls_key": "a"}, "stage_tls_ca: expected a file beside stage_tls_cert"),
        ({"stage_tls_server_name": "a"}, "stage_tls_ca: expected a file beside stage_tls_server_name"),
    ],
)
def test_settings_that_make_no_sense_without_each_other_are_refused(
    tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(tmp_path, **changed)


def test_without_any_file_everybody_comes_in_and_stages_are_called_unencrypted(tmp_path: Path) -> None:
    logger: Any = CapturingLogger()
    open_doors = doors(tmp_path, logger)
    assert open_doors.gates == ()
    assert open_doors.opener("127.0.0.1:1") is grpc.insecure_channel
    assert open_doors.highest_priority == DEFAULT_PRIORITY
    assert logger.calls == []
    open_doors.close()


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])  # noqa: S104
def test_keys_that_travel_unencrypted_beyond_this_machine_are_warned_of(
    tmp_path: Path, host: str, warned: bool
) -> None:
    (tmp_path / "clients.yaml").write_text(CLIENTS)
    logger: Any = CapturingLogger()
    closed = doors(tmp_path, logger, clients=tmp_path / "clients.yaml", host=host)
    assert len(closed.gates) == 1
    assert closed.highest_priority == 9
    assert [call.args for call in logger.calls] == [("clients' keys and tokens travel unencrypted",)] * warned


def test_files_that_cannot_be_used_keep_the_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="clients: expected a readable file"):
        doors(tmp_path, structlog.get_logger(), clients=tmp_path / "nix.yaml")
    (tmp_path / "ca.pem").write_bytes(b"x")
    with pytest.raises(SettingsError, match="stage_tls_ca: expected certificates in PEM"):
        doors(tmp_path, structlog.get_logger(), stage_tls_ca=tmp_path / "ca.pem")
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    doors(tmp_path, structlog.get_logger(), stage_tls_ca=tmp_path / "ca.pem")


def explained(client: Client) -> list[Any]:
    """What asking for explanations in every way comes to: None where it was not denied."""
    answers: list[Any] = []
    request = gateway_pb2.RecommendRequest(count=1)
    for ask in (
        lambda: client.recommend(count=1, explain=True),
        lambda: client.recommend(count=1, trace=True),
        lambda: client._stub.Explain(gateway_pb2.ExplainRequest(request=request, item_id="i1"), timeout=10),
    ):
        try:
            ask()
        except PermissionDenied as error:
            answers.append(error.code)
        except grpc.RpcError as error:
            answers.append(call_of(error).code())
        else:
            answers.append(None)
    assert len(client.recommend(count=1).recommendations) == 1
    return answers


def test_explanations_take_a_gateway_that_gives_them_and_a_client_who_may(tmp_path: Path) -> None:
    denied = [grpc.StatusCode.PERMISSION_DENIED] * 3
    (tmp_path / "clients.yaml").write_text(CLIENTS)
    with serving(tmp_path, clients=tmp_path / "clients.yaml") as address:
        with Client(address, timeout_seconds=10, api_key=EXPLAINED_KEY) as client:
            assert grpc.StatusCode.PERMISSION_DENIED not in explained(client)
        with Client(address, timeout_seconds=10, api_key=KEY) as client:
            assert explained(client) == denied
        with Client(address, timeout_seconds=10) as client, pytest.raises(Unauthenticated):
            client.recommend()


def test_a_gateway_told_not_to_explain_does_not(tmp_path: Path) -> None:
    with serving(tmp_path, explain_enabled=False) as address, Client(address, timeout_seconds=10) as client:
        assert explained(client) == [grpc.StatusCode.PERMISSION_DENIED] * 3
