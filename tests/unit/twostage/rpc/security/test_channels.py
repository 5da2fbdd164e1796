from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from prometheus_client import CollectorRegistry
from structlog.testing import CapturingLogger

from tests.certificates import Authority, Pair, replace
from tests.unit.twostage.rpc.echo import call_of, echo_server, failed, say_stub
from twostage.rpc.channels import Replicas
from twostage.rpc.security.channels import SecureChannels
from twostage.rpc.security.identity import IdentityFiles
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.server import ServiceServer

AUTHORITY, STRANGER = Authority(), Authority("stranger")
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


@contextmanager
def secure(folder: Path, own: Pair | None = None, server_name: str | None = None) -> Iterator[SecureChannels]:
    replace(folder / "stage-ca.pem", AUTHORITY.pem)
    certificate, key = own.write(folder, "own") if own is not None else (None, None)
    channels = SecureChannels(
        IdentityFiles("stage_tls", "ca", certificate, key, folder / "stage-ca.pem"),
        server_name=server_name,
        metrics=SecurityMetrics(CollectorRegistry()),
        logger=_logger(),
    )
    yield channels
    channels.close()


def _logger() -> Any:
    return CapturingLogger()


@contextmanager
def serving(folder: Path, pair: Pair | None = None, *, mutual: bool = False, **more: Any) -> Iterator[ServiceServer]:
    certificate, key = (pair or AUTHORITY.sign()).write(folder, "server")
    replace(folder / "client-ca.pem", AUTHORITY.pem)
    authority = {"tls_client_ca": folder / "client-ca.pem"} if mutual else {}
    settings: dict[str, Any] = {"tls_certificate": certificate, "tls_key": key, **authority, **more}
    with echo_server(**settings) as server:
        yield server


def say(channel: grpc.Channel) -> str:
    with channel:
        return str(say_stub(channel)(StringValue(value="hello"), timeout=10).value)


def test_a_stage_whose_authority_is_known_is_called(tmp_path: Path) -> None:
    with serving(tmp_path) as server, secure(tmp_path) as channels:
        assert say(channels.opener(server.address)(server.address, OPTIONS)) == "hello"


def test_a_stage_of_another_authority_is_not(tmp_path: Path) -> None:
    with serving(tmp_path, STRANGER.sign()) as server, secure(tmp_path) as channels:
        error = failed(lambda: say(channels.opener(server.address)(server.address, OPTIONS)))
    assert call_of(error).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("target", "server_name", "answered"),
    [
        # What is connected to is 127.0.0.1 in all of them.
        ("dns:///stage.internal:50051", None, True),
        ("dns:///other.internal:50051", None, False),
        ("127.0.0.1:50051", None, False),
        ("127.0.0.1:50051", "stage.internal", True),
        ("dns:///other.internal:50051", "stage.internal", True),
    ],
)
def test_the_certificate_must_carry_the_name_of_the_target_or_the_one_that_is_set(
    tmp_path: Path, target: str, server_name: str | None, answered: bool
) -> None:
    pair = AUTHORITY.sign(names=("stage.internal",))
    with serving(tmp_path, pair) as server, secure(tmp_path, server_name=server_name) as channels:
        channel = channels.opener(target)(server.address, OPTIONS)
        if answered:
            assert say(channel) == "hello"
        else:
            assert call_of(failed(lambda: say(channel))).code() is grpc.StatusCode.UNAVAILABLE


def test_replicas_show_their_certificate_and_take_a_new_one_without_a_failed_call(tmp_path: Path) -> None:
    first, second = AUTHORITY.sign("first", names=()), AUTHORITY.sign("second", names=())
    failures: list[str] = []
    over = threading.Event()
    with (
        serving(tmp_path, mutual=True) as server,
        secure(tmp_path, first) as channels,
        Replicas(server.address, say_stub, open_channel=channels.opener(server.address)) as replicas,
    ):

        def ask() -> None:
            while not over.is_set():
                try:
                    with replicas.pick() as replica:
                        replica.stub(StringValue(value="sleep 0.005"), timeout=10)
                except grpc.RpcError as error:
                    failures.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        reopened = threading.Event()
        channels.on_change(replicas.reopen)
        channels.on_change(reopened.set)
        channels.watch(0.02)
        second.write(tmp_path, "own")
        before = set(replicas.connections())
        assert reopened.wait(10)
        with replicas.pick() as replica:
            assert replica not in before
            assert replica.stub(StringValue(value="hello"), timeout=10).value == "hello"
        over.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_channels_opened_after_the_files_changed_show_the_new_certificate(tmp_path: Path) -> None:
    with (
        serving(tmp_path, mutual=True, tls_client_names="second") as server,
        secure(tmp_path, AUTHORITY.sign("first", names=())) as channels,
    ):
        open_channel = channels.opener(server.address)
        error = failed(lambda: say(open_channel(server.address, OPTIONS)))
        assert call_of(error).code() is grpc.StatusCode.PERMISSION_DENIED
        changed = threading.Event()
        channels.on_change(changed.set)
        channels.watch(0.02)
        replace(tmp_path / "own.key", b"nonsense")
        assert not changed.wait(0.1)
        AUTHORITY.sign("second", names=()).write(tmp_path, "own")
        assert changed.wait(10)
        assert say(open_channel(server.address, OPTIONS)) == "hello"
