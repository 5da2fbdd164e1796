"""``twostage keys``: API keys for the gateway's clients."""

from __future__ import annotations

import re

import click

from twostage.rpc.security.api_keys import key_digest, new_key

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}")


@click.group()
def keys() -> None:
    """API keys for the gateway's clients."""


@keys.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a key for the client NAME: the key on standard output, once, and what the clients' file needs beside it.

    The key itself is stored nowhere. `twostage keys new shop > shop.key` leaves the key alone in the file; the lines
    for the clients' file go to standard error.
    """
    if not _NAME.fullmatch(name):
        raise click.ClickException(
            f"NAME: expected 1 to 128 letters, digits and ._@:/- that begin with a letter or a digit, received {name!r}"
        )
    key = new_key()
    click.echo(f"clients:\n  - name: {name}\n    keys:\n      - sha256: {key_digest(key).hex()}", err=True)
    click.echo(key)
