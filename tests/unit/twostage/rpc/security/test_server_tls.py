from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from structlog.testing import CapturingLogger

from tests.certificates import Authority, Pair, mount
from tests.unit.twostage.rpc.echo import call_of, echo_server, failed, say_stub, status_stub
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import SettingsError

AUTHORITY, STRANGER = Authority(), Authority("stranger")
SERVER = AUTHORITY.sign()


@contextmanager
def channel(server: ServiceServer, authority: bytes = AUTHORITY.pem, own: Pair | None = None) -> Iterator[grpc.Channel]:
    pair = (own.key, own.certificate) if own is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(authority, *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(server.address, credentials, options=options) as opened:
        yield opened


def ask(server: ServiceServer, authority: bytes = AUTHORITY.pem, own: Pair | None = None) -> str:
    with channel(server, authority, own) as opened:
        return str(say_stub(opened)(StringValue(value="hello"), timeout=10).value)


def refused(server: ServiceServer, authority: bytes = AUTHORITY.pem, own: Pair | None = None) -> grpc.StatusCode:
    return call_of(failed(lambda: ask(server, authority, own))).code()


def tls(folder: Path, pair: Pair = SERVER, **more: Any) -> dict[str, Any]:
    certificate, key = pair.write(folder, "server")
    return {"tls_certificate": certificate, "tls_key": key, "reload_seconds": 0.02, **more}


def mutual(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "ca.pem").write_bytes(AUTHORITY.pem)
    return tls(folder, tls_client_ca=folder / "ca.pem", **more)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.005)


def metric(server: ServiceServer, name: str, **labels: str) -> float | None:
    return server.metrics.registry.get_sample_value(name, labels)


def test_who_believes_the_authority_is_answered_and_nobody_else(tmp_path: Path) -> None:
    with echo_server(**tls(tmp_path)) as server:
        assert ask(server) == "hello"
        assert refused(server, STRANGER.pem) is grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(server.address) as plain:
            error = call_of(failed(lambda: say_stub(plain)(StringValue(value="x"), timeout=10)))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_the_end_of_the_certificate_is_a_metric(tmp_path: Path) -> None:
    with echo_server(**tls(tmp_path)) as server:
        shown = metric(server, "twostage_tls_certificate_expiry_timestamp_seconds", certificate="tls_certificate")
    assert shown == SERVER.parsed.not_valid_after_utc.timestamp()


def test_with_a_clients_authority_only_clients_with_its_certificates_are_answered(tmp_path: Path) -> None:
    with echo_server(**mutual(tmp_path)) as server:
        assert ask(server, own=AUTHORITY.sign("anybody", names=())) == "hello"
        assert refused(server) is grpc.StatusCode.UNAVAILABLE
        assert refused(server, own=STRANGER.sign()) is grpc.StatusCode.UNAVAILABLE
        expired = AUTHORITY.sign(ends=timedelta(minutes=-1))
        assert refused(server, own=expired) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("common_name", "names", "allowed"),
    [
        ("other", ("gateway.internal",), True),
        ("other", ("x", "spiffe://cluster/gateway"), True),
        ("gateway.internal", (), True),
        ("gateway.internal", ("other",), False),
        ("other", (), False),
        ("other", ("gateway.internal.evil",), False),
    ],
)
def test_only_clients_with_one_of_the_names_are_let_in(
    tmp_path: Path, common_name: str, names: tuple[str, ...], allowed: bool
) -> None:
    settings = mutual(tmp_path, tls_client_names="gateway.internal, spiffe://cluster/gateway")
    with echo_server(**settings) as server, channel(server, own=AUTHORITY.sign(common_name, names=names)) as opened:
        for stub in (say_stub(opened), status_stub(opened)):
            for _ in range(2):
                if allowed:
                    stub(StringValue(value="hello"), timeout=10)
                    continue
                error = call_of(failed(partial(stub, StringValue(value="hello"), timeout=10)))
                assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_new_connections_get_a_new_certificate_and_old_ones_go_on(tmp_path: Path) -> None:
    with echo_server(**tls(tmp_path, reload_seconds=3600)) as server, channel(server) as old:
        assert say_stub(old)(StringValue(value="1"), timeout=10).value == "1"
        STRANGER.sign().write(tmp_path, "server")
        # At once, whenever the next look is due: gRPC asks before each handshake.
        assert ask(server, STRANGER.pem) == "hello"
        assert refused(server) is grpc.StatusCode.UNAVAILABLE
        assert say_stub(old)(StringValue(value="2"), timeout=10).value == "2"


def _answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return False
    return True


def test_a_broken_pair_is_not_used_and_told_of(tmp_path: Path) -> None:
    logger: Any = CapturingLogger()
    with echo_server(logger, **tls(tmp_path)) as server:
        # The certificate of another key, as between the two steps of somebody who copies files.
        (tmp_path / "server.crt").write_bytes(AUTHORITY.sign().certificate)
        eventually(lambda: metric(server, "twostage_reload_refused", what="tls_certificate") == 1)
        assert ask(server) == "hello"
        (warning,) = [call for call in logger.calls if call.method_name == "warning"]
        assert "tls_key: expected the key of the certificate" in warning.kwargs["reason"]
        AUTHORITY.sign().write(tmp_path, "server")
        eventually(lambda: metric(server, "twostage_reload_refused", what="tls_certificate") == 0)
        assert ask(server) == "hello"


def test_one_that_has_expired_does_not_replace_one_that_holds(tmp_path: Path) -> None:
    with echo_server(**tls(tmp_path)) as server:
        AUTHORITY.sign(ends=timedelta(minutes=-1)).write(tmp_path, "server")
        eventually(lambda: metric(server, "twostage_reload_refused", what="tls_certificate") == 1)
        assert ask(server) == "hello"


def test_a_kubernetes_secret_rotates_as_a_whole_while_connections_come_and_none_fails(tmp_path: Path) -> None:
    first, second = AUTHORITY.sign(), AUTHORITY.sign()
    folder = tmp_path / "secret"
    mount(folder, "v1", {"tls.crt": first.certificate, "tls.key": first.key})
    failures: list[str] = []
    over = threading.Event()
    settings: dict[str, Any] = {
        "tls_certificate": folder / "tls.crt",
        "tls_key": folder / "tls.key",
        "reload_seconds": 0.02,
    }
    with echo_server(**settings) as server:

        def connect() -> None:
            while not over.is_set():
                try:
                    ask(server)
                except grpc.RpcError as error:
                    failures.append(str(error))

        thread = threading.Thread(target=connect)
        thread.start()
        mount(folder, "v2", {"tls.crt": second.certificate, "tls.key": second.key})
        eventually(lambda: metric(server, "twostage_reloads_total", what="tls_certificate", outcome="accepted") == 1)
        time.sleep(0.1)
        over.set()
        thread.join()
        assert metric(server, "twostage_reloads_total", what="tls_certificate", outcome="refused") == 0
    assert failures == []


def test_the_clients_authority_is_reloaded_too(tmp_path: Path) -> None:
    with echo_server(**mutual(tmp_path)) as server:
        own = STRANGER.sign()
        assert refused(server, own=own) is grpc.StatusCode.UNAVAILABLE
        (tmp_path / "new").write_bytes(AUTHORITY.pem + STRANGER.pem)
        (tmp_path / "new").replace(tmp_path / "ca.pem")
        eventually(lambda: _answers(lambda: ask(server, own=own)))
        assert ask(server, own=AUTHORITY.sign()) == "hello"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644])
def test_a_key_that_others_may_read_is_warned_of(tmp_path: Path, mode: int) -> None:
    logger: Any = CapturingLogger()
    settings = tls(tmp_path)
    (tmp_path / "server.key").chmod(mode)
    with echo_server(logger, **settings):
        pass
    warned = [call.kwargs["mode"] for call in logger.calls if call.method_name == "warning"]
    assert warned == ([f"{mode:04o}"] if mode & 0o077 else [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tls_certificate": "a"}, "tls_key: expected a file beside tls_certificate, received none"),
        ({"tls_key": "a"}, "tls_certificate: expected a file beside tls_key, received none"),
        ({"tls_client_ca": "a"}, "tls_certificate: expected a file beside tls_client_ca, received none"),
        ({"tls_client_names": "a"}, "tls_client_names: expected names by commas, and tls_client_ca beside them"),
    ],
)
def test_settings_that_make_no_sense_without_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        echo_server(**settings)


def test_a_server_whose_certificate_cannot_be_used_is_not_made(tmp_path: Path) -> None:
    settings = tls(tmp_path)
    (tmp_path / "server.key").write_bytes(b"x")
    with pytest.raises(SettingsError, match="tls_key: expected a private key in PEM"):
        echo_server(**settings)
