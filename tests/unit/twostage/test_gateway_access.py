from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.wrappers_pb2 import StringValue

from tests.certificates import Authority, Pair, replace
from tests.unit.twostage.rpc.echo import call_of, echo_server, failed, say_stub
from twostage.client import Client
from twostage.gateway_access import AccessInvalid, GatewayAccess, TokenFile
from twostage.gateway_options import gateway_options
from twostage.rpc.security.private_files import read_secret

AUTHORITY = Authority()


def say(access: GatewayAccess, address: str, text: str = "hello") -> str:
    with access.channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        return str(say_stub(channel)(StringValue(value=text), timeout=10).value)


def test_files_for_tls_are_used(tmp_path: Path) -> None:
    certificate, key = AUTHORITY.sign(names=("gateway.example",)).write(tmp_path, "server")
    own_certificate, own_key = AUTHORITY.sign("me").write(tmp_path, "own")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(AUTHORITY.pem)
    with echo_server(tls_certificate=certificate, tls_key=key, tls_client_ca=ca) as server:
        whole = GatewayAccess(
            tls_ca=ca, tls_certificate=own_certificate, tls_key=own_key, tls_server_name="gateway.example"
        )
        assert say(whole, server.address) == "hello"
        lacking: list[dict[str, Any]] = [
            {"tls_ca": ca, "tls_server_name": "gateway.example"},
            {"tls_ca": ca, "tls_certificate": own_certificate, "tls_key": own_key},
            # The well-known authorities know nothing of ours.
            {"tls": True},
            {},
        ]
        for parts in lacking:
            error = failed(lambda parts=parts: say(GatewayAccess(**parts), server.address))  # type: ignore[misc]
            assert call_of(error).code() is grpc.StatusCode.UNAVAILABLE


OWN = AUTHORITY.sign()


@pytest.mark.parametrize(
    ("own", "ca", "message"),
    [
        (OWN, b"nothing", "tls_ca: expected certificates in PEM"),
        (OWN, None, "tls_ca: expected a readable file, received .*ca.pem: No such file"),
        (Pair(OWN.certificate, b"x"), AUTHORITY.pem, "tls_key: expected the certificate's private key"),
        (Pair(OWN.certificate, AUTHORITY.sign().key), AUTHORITY.pem, "tls_key: expected the certificate's private key"),
        (Pair(b"x", OWN.key), AUTHORITY.pem, "tls_key: expected the certificate's private key"),
    ],
)
def test_files_that_cannot_be_used_are_named_before_anything_is_sent(
    tmp_path: Path, own: Pair, ca: bytes | None, message: str
) -> None:
    certificate, key = own.write(tmp_path, "own")
    if ca is not None:
        (tmp_path / "ca.pem").write_bytes(ca)
    access = GatewayAccess(tls_ca=tmp_path / "ca.pem", tls_certificate=certificate, tls_key=key)
    with pytest.raises(AccessInvalid, match=message):
        access.channel("127.0.0.1:1")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"tls_certificate": Path("a")}, "tls_key: expected a file beside tls_certificate"),
        ({"tls_key": Path("a")}, "tls_certificate: expected a file beside tls_key"),
        ({"tls": False, "tls_ca": Path("a")}, "tls: expected True beside files"),
        ({"api_key": "a", "token": "b"}, "api_key: expected none beside a token"),
        ({"api_key": ""}, "api_key: expected printable ASCII"),
        ({"api_key": "a\n"}, "api_key: expected printable ASCII"),
        ({"token": "schlüssel"}, "token: expected printable ASCII"),
    ],
)
def test_what_contradicts_itself_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(AccessInvalid, match=message) as caught:
        GatewayAccess(**parts)
    assert "schl" not in str(caught.value)
    with pytest.raises(AccessInvalid, match=message):
        Client("127.0.0.1:1", **parts)


def test_an_access_and_its_parts_are_not_given_together() -> None:
    with pytest.raises(AccessInvalid, match="access: expected none beside"):
        Client("127.0.0.1:1", access=GatewayAccess(), api_key="a")


def test_secrets_are_not_shown() -> None:
    assert "geheim" not in repr(GatewayAccess(api_key="geheim")) + repr(GatewayAccess(token="geheim"))


def test_a_token_file_is_read_again_when_it_changes_and_a_broken_one_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    now = [0.0]
    token = TokenFile(path, lambda path: read_secret(path, "--token-file"), lambda: now[0])
    replace(path, b"second")
    assert token() == "first"
    now[0] = 1.0
    assert token() == "second"
    replace(path, b"two words")
    now[0] = 2.0
    assert token() == "second"
    path.unlink()
    now[0] = 3.0
    assert token() == "second"
    replace(path, b"third")
    now[0] = 4.0
    assert token() == "third"


@click.command()
@gateway_options
def show(access: GatewayAccess) -> None:
    """Shows what came of the options."""
    token = access.token() if callable(access.token) else access.token
    click.echo(f"{access.encrypted} {access.tls_ca} {access.api_key} {token}")


def test_commands_get_one_access_of_all_options_and_variables(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("my-key\n")
    (tmp_path / "token").write_text("my-token\n")
    run = CliRunner().invoke
    assert run(show, []).output == "False None None None\n"
    assert run(show, ["--tls"]).output == "True None None None\n"
    assert run(show, ["--api-key-file", str(tmp_path / "key")]).output == "False None my-key None\n"
    environment = {"TWOSTAGE_TOKEN_FILE": str(tmp_path / "token"), "TWOSTAGE_TLS_CA": "ca.pem"}
    assert run(show, [], env=environment).output == "True ca.pem None my-token\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--api-key-file", "nix"], "--api-key-file: expected a readable file, received nix"),
        (["--token-file", os.devnull], "--token-file: expected one line of printable ASCII"),
        (["--tls-key", "a"], "tls_certificate: expected a file beside tls_key"),
        (["--no-tls", "--tls-ca", "a"], "tls: expected True beside files"),
    ],
)
def test_commands_say_in_one_line_what_is_wrong(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(show, arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count("\n") == 1
