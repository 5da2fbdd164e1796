"""``twostage user``: show what is stored about a person, or delete it."""

from __future__ import annotations

import click
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twostage.client import CallFailed, Client
from twostage.commands.request_options import TEXT, address_option, json_option, timeout_option
from twostage.gateway_access import GatewayAccess
from twostage.gateway_options import gateway_options
from twostage.terminal import make_console
from twostage.v1 import gateway_pb2


@click.group()
def user() -> None:
    """Show what is stored about a person, or delete it."""


@user.command()
@click.argument("user_id", type=TEXT)
@click.option(
    "--events",
    "event_count",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="The most events to show, the newest.",
)
@timeout_option
@json_option
@address_option
@gateway_options
def show(user_id: str, event_count: int, timeout_ms: float, as_json: bool, address: str, access: GatewayAccess) -> None:
    """Show what is stored about USER_ID."""
    try:
        with Client(address, timeout_seconds=timeout_ms / 1000, access=access) as client:
            response = client.get_user(user_id, max_event_count=event_count)
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(MessageToJson(response, preserving_proto_field_name=True))
    else:
        _print_user(make_console(), response)


@user.command()
@click.argument("user_id", type=TEXT)
@click.option("--yes", is_flag=True, help="Do not ask whether that is meant.")
@timeout_option
@address_option
@gateway_options
def delete(user_id: str, yes: bool, timeout_ms: float, address: str, access: GatewayAccess) -> None:
    """Delete USER_ID and everything they did, at once and for good."""
    if not yes:
        click.confirm(f"Delete {user_id!r} and everything they did, for good?", abort=True)
    try:
        with Client(address, timeout_seconds=timeout_ms / 1000, access=access) as client:
            response = client.delete_user(user_id)
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"deleted, with {response.deleted_event_count:,} events")


def _print_user(console: Console, response: gateway_pb2.GetUserResponse) -> None:
    table = Table("time", "action", "value", "item", "event", "request", box=None, pad_edge=False)
    for event in response.events:
        # Imports whose data knew no time have 0.
        time = event.time.ToJsonString() if event.time.seconds else ""
        value = f"{event.value:g}" if event.HasField("value") else ""
        texts = (event.action, value, event.item_id, event.event_id, event.request_id)
        table.add_row(time, *map(escape, texts))
    if response.events:
        console.print(table)
    shown = len(response.events)
    newest = f", the newest {shown:,} of them above" if shown < response.event_count else ""
    expiry = f"; forgotten on {response.expire_time.ToJsonString()}" if response.HasField("expire_time") else ""
    console.print(f"{response.event_count:,} events{newest}{expiry}")
