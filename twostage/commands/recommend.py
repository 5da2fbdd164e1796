"""``twostage recommend``: ask the gateway, print a table."""

from __future__ import annotations

import click
from google.protobuf.json_format import MessageToJson

from twostage.client import CallFailed, Client
from twostage.commands.answer_table import print_answer
from twostage.commands.request_options import (
    TEXT,
    address_option,
    attribute_option,
    blend_option,
    filter_of,
    json_option,
    person_and_rules,
    pin_option,
    ranker_option,
    timeout_option,
)
from twostage.gateway_access import GatewayAccess
from twostage.gateway_options import gateway_options
from twostage.terminal import make_console
from twostage.v1 import common_pb2


@click.command()
@click.option("--user", type=TEXT, default="", help="Whom to recommend to; an unknown user gets the cold-start answer.")
@person_and_rules
@attribute_option
@ranker_option
@blend_option
@pin_option
@click.option("--explain", is_flag=True, help="Say why: which recent items carried each recommendation.")
@click.option("--trace", is_flag=True, help="Say what each stage did to each item.")
@timeout_option
@json_option
@address_option
@gateway_options
def recommend(
    user: str,
    items: tuple[str, ...],
    tags: tuple[str, ...],
    count: int | None,
    conditions: tuple[tuple[str, str], ...],
    exclude: tuple[str, ...],
    include_seen: bool,
    diversity: float,
    attributes: tuple[str, ...],
    ranker: str,
    blend: dict[str, float],
    pins: tuple[str, ...],
    explain: bool,
    trace: bool,
    timeout_ms: float,
    as_json: bool,
    address: str,
    access: GatewayAccess,
) -> None:
    """Ask the gateway for recommendations and print them.

    With neither --user, --items nor --tag it answers as for somebody of whom nothing is known.
    """
    try:
        with Client(address, timeout_seconds=timeout_ms / 1000, access=access) as client:
            response = client.recommend(
                user,
                recent_item_ids=items,
                interest_tags=tags,
                count=count,
                condition_filter=filter_of(conditions),
                exclude_item_ids=exclude,
                include_seen=include_seen,
                diversity=common_pb2.Diversity(strength=diversity),
                attributes=attributes,
                explain=explain,
                trace=trace,
                ranker=ranker,
                blend=blend,
                pinned_item_ids=pins,
            )
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(MessageToJson(response, preserving_proto_field_name=True))
    else:
        print_answer(make_console(), response, attributes=attributes)
