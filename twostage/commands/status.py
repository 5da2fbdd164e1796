"""``twostage status``: who holds which generation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import click
from rich.markup import escape
from rich.table import Table

from twostage.client import CallFailed, Client
from twostage.commands.request_options import address_option
from twostage.gateway_access import GatewayAccess
from twostage.gateway_options import gateway_options
from twostage.terminal import make_console
from twostage.v1 import common_pb2


class _Server(NamedTuple):
    """A server as the gateway tells of it; ``error`` is why it did not answer."""

    name: str
    address: str
    status: common_pb2.ServiceStatus
    error: str


@click.command()
@address_option
@gateway_options
def status(address: str, access: GatewayAccess) -> None:
    """Ask the gateway who holds which generation; exits with 1 when a server does not serve."""
    try:
        with Client(address, access=access) as client:
            response = client.status()
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    servers = [_Server("gateway", address, response.status, "")]
    servers += [_Server(each.stage, each.address, each.status, each.error) for each in response.stages]
    console = make_console()
    console.print(_table(servers))
    for line in _refusals(servers):
        console.print(line, soft_wrap=True)
    for server in servers:
        libraries = sorted(server.status.libraries.items())
        if libraries:
            console.print(f"{server.name}: " + ", ".join(f"{name} {version}" for name, version in libraries))
    silent = sum(not server.status.serving for server in servers)
    if silent:
        raise click.ClickException(f"{silent} of {len(servers)} servers do not serve")


def _table(servers: Iterable[_Server]) -> Table:
    """A row for each server and a column for each generation that anybody holds, the newest first."""
    numbers = sorted({each.generation for server in servers for each in server.status.generations}, reverse=True)
    table = Table("service", "address", "state", *(f"generation {number}" for number in numbers), "version", "up")
    for server in servers:
        answer = server.status
        if server.error:
            table.add_row(server.name, server.address, f"[red]no answer: {escape(server.error)}[/red]")
            continue
        held = {each.generation: each for each in answer.generations}
        table.add_row(
            server.name,
            server.address,
            _state(answer),
            *(_holding(held.get(number)) for number in numbers),
            answer.version,
            f"{answer.uptime_seconds:.0f} s",
        )
    return table


def _state(answer: common_pb2.ServiceStatus) -> str:
    state = "SERVING" if answer.serving else f"[red]NOT_SERVING[/red] {escape(answer.detail)}"
    return f"{state}, preparing {answer.preparing_generation}" if answer.preparing_generation else state


def _holding(held: common_pb2.GenerationStatus | None) -> str:
    if held is None:
        return "-"
    return f"{'[bold]active[/bold]' if held.active else 'held'}, {held.item_count:,} items"


def _refusals(servers: Iterable[_Server]) -> list[str]:
    """Who refused which generation and why; the same words of several servers once."""
    by_text: dict[str, list[str]] = {}
    for server in servers:
        for refused in server.status.refused:
            text = f"[red]refused generation {refused.generation}[/red]: {escape(refused.reason)}"
            by_text.setdefault(text, []).append(f"{server.name} at {server.address}")
    return [f"{escape(', '.join(names))} {text}" for text, names in by_text.items()]
