"""``twostage status``: who holds which generation."""

from __future__ import annotations

import click
from rich.table import Table

from twostage.client import CallFailed, Client
from twostage.commands.request_options import address_option
from twostage.terminal import make_console
from twostage.v1 import common_pb2


@click.command()
@address_option
def status(address: str) -> None:
    """Ask the gateway who holds which generation; exits with 1 when a server does not serve."""
    try:
        with Client(address) as client:
            response = client.status()
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    table = Table("service", "address", "state", "generations", "items", "version", "up")
    silent = 0
    used: dict[str, dict[str, str]] = {}
    for stage, place, answer, error_text in [
        ("gateway", address, response.status, ""),
        *((s.stage, s.address, s.status, s.error) for s in response.stages),
    ]:
        silent += not answer.serving
        if error_text:
            table.add_row(stage, place, f"[red]no answer: {error_text}[/red]")
            continue
        used[stage] = dict(answer.libraries)
        table.add_row(stage, place, *_described(answer))
    console = make_console()
    console.print(table)
    for name, libraries in used.items():
        console.print(f"{name}: " + ", ".join(f"{library} {version}" for library, version in sorted(libraries.items())))
    if silent:
        raise click.ClickException(f"{silent} of {1 + len(response.stages)} servers do not serve")


def _described(answer: common_pb2.ServiceStatus) -> tuple[str, ...]:
    state = "SERVING" if answer.serving else f"[red]NOT_SERVING[/red] {answer.detail}"
    held = ", ".join(f"{g.generation}{'*' if g.active else ''}" for g in answer.generations)
    counts = ", ".join(f"{g.item_count:,}" for g in answer.generations)
    return state, held, counts, answer.version, f"{answer.uptime_seconds:.0f} s"
