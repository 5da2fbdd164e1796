"""``twostage recommend``: ask the gateway, print a table."""

from __future__ import annotations

import os
from typing import Any

import click
from google.protobuf.json_format import MessageToJson

from twostage.client import CallFailed, Client
from twostage.commands.answer_table import print_answer
from twostage.terminal import make_console
from twostage.v1 import common_pb2

# What a request's count can hold; which counts make sense is for the gateway to say.
_INT32 = click.IntRange(-(2**31), 2**31 - 1)


class _Utf8(click.types.StringParamType):
    """Text that a request can carry: a shell passes on any bytes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text: str = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            name = param.opts[0] if param is not None else "argument"
            raise click.ClickException(f"{name}: expected UTF-8, received {os.fsencode(text)!r}") from None
        return text


_TEXT = _Utf8()

address_option = click.option(
    "--address", type=_TEXT, default="127.0.0.1:50050", show_default=True, help="The gateway."
)


def _split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if value else ()


def _in_32_bits(context: click.Context, parameter: click.Parameter, value: int | None) -> int | None:
    # As a type it would show its bounds in the help, where they mislead.
    return None if value is None else int(_INT32.convert(value, parameter, context))


@click.command()
@click.option(
    "--user", type=_TEXT, default="", help="Whom to recommend to; an unknown user gets the cold-start answer."
)
@click.option(
    "--items", type=_TEXT, callback=_split, help="Recent item ids a,b,c, oldest first, instead of a stored history."
)
@click.option(
    "--tag", "tags", type=_TEXT, multiple=True, help="An interest of somebody without a history; may be repeated."
)
@click.option("--count", type=int, callback=_in_32_bits, help="How many, 1..200.  [default: 20]")
@click.option(
    "--any-of",
    "conditions",
    type=(_TEXT, _TEXT),
    multiple=True,
    help="ATTRIBUTE a,b: only items with one of these values.",
)
@click.option("--exclude", type=_TEXT, callback=_split, help="Item ids a,b,c not to recommend.")
@click.option("--include-seen", is_flag=True, help="Also items that the person has already seen.")
@click.option("--diversity", type=float, default=0.0, show_default=True, help="0..1.")
@click.option("--attribute", "attributes", type=_TEXT, multiple=True, help="An attribute to show; may be repeated.")
@click.option("--explain", is_flag=True, help="Say why.")
@click.option("--timeout-ms", type=click.FloatRange(min=1), default=2000.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@address_option
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
    explain: bool,
    timeout_ms: float,
    as_json: bool,
    address: str,
) -> None:
    """Ask the gateway for recommendations and print them.

    With neither --user, --items nor --tag it answers as for somebody of whom nothing is known.
    """
    wanted = common_pb2.Filter(
        conditions=[
            common_pb2.Condition(attribute=name, any_of=[value.strip() for value in values.split(",")])
            for name, values in conditions
        ]
    )
    try:
        with Client(address, timeout_seconds=timeout_ms / 1000) as client:
            response = client.recommend(
                user,
                recent_item_ids=items,
                interest_tags=tags,
                count=count,
                condition_filter=wanted,
                exclude_item_ids=exclude,
                include_seen=include_seen,
                diversity=common_pb2.Diversity(strength=diversity),
                attributes=attributes,
                explain=explain,
            )
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(MessageToJson(response, preserving_proto_field_name=True))
    else:
        print_answer(make_console(), response, attributes=attributes)
