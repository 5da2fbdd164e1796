"""``twostage similar``: ask the gateway what is like an item, print a table."""

from __future__ import annotations

import click
from google.protobuf.json_format import MessageToJson

from twostage.client import CallFailed, Client
from twostage.commands.answer_table import print_similar
from twostage.commands.request_options import (
    TEXT,
    address_option,
    any_of_option,
    attribute_option,
    count_option,
    filter_of,
    json_option,
    split,
    timeout_option,
)
from twostage.gateway_access import GatewayAccess
from twostage.gateway_options import gateway_options
from twostage.terminal import make_console


@click.command()
@click.argument("item_id", type=TEXT)
@count_option
@any_of_option
@click.option("--exclude", type=TEXT, callback=split, help="Item ids a,b,c not to answer.")
@attribute_option
@timeout_option
@json_option
@address_option
@gateway_options
def similar(
    item_id: str,
    count: int | None,
    conditions: tuple[tuple[str, str], ...],
    exclude: tuple[str, ...],
    attributes: tuple[str, ...],
    timeout_ms: float,
    as_json: bool,
    address: str,
    access: GatewayAccess,
) -> None:
    """Ask the gateway for the items most like ITEM_ID and print them."""
    try:
        with Client(address, timeout_seconds=timeout_ms / 1000, access=access) as client:
            response = client.similar_items(
                item_id,
                count=count,
                condition_filter=filter_of(conditions),
                exclude_item_ids=exclude,
                attributes=attributes,
            )
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(MessageToJson(response, preserving_proto_field_name=True))
    else:
        print_similar(make_console(), response, attributes=attributes)
