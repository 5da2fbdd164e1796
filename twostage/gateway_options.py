"""The options of commands that ask a gateway: TLS and credentials."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from twostage.gateway_access import AccessInvalid, GatewayAccess, TokenFile
from twostage.rpc.security.private_files import SecretInvalid, read_secret

_FILE = click.Path(path_type=Path, dir_okay=False)
# Files and no secrets themselves: a command line is seen by everybody on the machine, and kept by shells.
_GATEWAY_OPTIONS = (
    click.option(
        "--tls-ca",
        type=_FILE,
        envvar="TWOSTAGE_TLS_CA",
        show_envvar=True,
        help="PEM of the authorities that may have signed the gateway's certificate.",
    ),
    click.option(
        "--tls-certificate",
        type=_FILE,
        envvar="TWOSTAGE_TLS_CERTIFICATE",
        show_envvar=True,
        help="PEM of a certificate of one's own, for a gateway that asks for one.",
    ),
    click.option("--tls-key", type=_FILE, envvar="TWOSTAGE_TLS_KEY", show_envvar=True, help="PEM of its private key."),
    click.option(
        "--tls-server-name",
        envvar="TWOSTAGE_TLS_SERVER_NAME",
        show_envvar=True,
        help="The name in the gateway's certificate.  [default: the address's host]",
    ),
    click.option(
        "--tls/--no-tls",
        default=None,
        envvar="TWOSTAGE_TLS",
        show_envvar=True,
        help="Encrypt, with the well-known authorities where no --tls-ca is given.  [default: with any --tls-…]",
    ),
    click.option(
        "--api-key-file",
        type=_FILE,
        envvar="TWOSTAGE_API_KEY_FILE",
        show_envvar=True,
        help="A file that holds an API key.",
    ),
    click.option(
        "--token-file",
        type=_FILE,
        envvar="TWOSTAGE_TOKEN_FILE",
        show_envvar=True,
        help="A file that holds a token (JWT); read again when it changes.",
    ),
)


def gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """For commands that ask a gateway: options for TLS and credentials, of which the command gets one argument.

    ::

        @click.command()
        @gateway_options
        def ask(access: GatewayAccess) -> None:
            with Client(address, access=access) as client: ...

    Files that cannot be used end the command with one line. What the command itself finds out only when it opens a
    channel does too.
    """

    @functools.wraps(command)
    def with_access(
        *arguments: Any,
        tls: bool | None,
        tls_ca: Path | None,
        tls_certificate: Path | None,
        tls_key: Path | None,
        tls_server_name: str | None,
        api_key_file: Path | None,
        token_file: Path | None,
        **options: Any,
    ) -> Any:
        try:
            api_key = read_secret(api_key_file, "--api-key-file") if api_key_file is not None else None
            token = TokenFile(token_file, lambda path: read_secret(path, "--token-file")) if token_file else None
            access = GatewayAccess(tls, tls_ca, tls_certificate, tls_key, tls_server_name, api_key, token)
            return command(*arguments, access=access, **options)
        except (AccessInvalid, SecretInvalid) as error:
            raise click.ClickException(str(error)) from error

    for option in reversed(_GATEWAY_OPTIONS):
        option(with_access)
    return with_access
