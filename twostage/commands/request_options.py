"""Options of the commands that ask a gateway, and what a request can carry of what they are given."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from twostage.finite_numbers import FiniteFloat, FiniteRange
from twostage.v1 import common_pb2

F = TypeVar("F", bound=Callable[..., Any])

# What a request's count can hold; which counts make sense is for the gateway to say.
_INT32 = click.IntRange(-(2**31), 2**31 - 1)


class _Utf8(click.types.StringParamType):
    """Text that a request can carry: a shell passes on any bytes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text: str = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise click.ClickException(f"{_name(param)}: expected UTF-8, received {os.fsencode(text)!r}") from None
        return text


def _name(parameter: click.Parameter | None) -> str:
    if parameter is None:
        return "argument"
    return parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name


TEXT = _Utf8()


def split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The parts of ``a,b,c``."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if value else ()


def weights(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """The weights of ``action=weight`` texts; the gateway says which actions there are and what weights may be."""
    blend: dict[str, float] = {}
    for text in values:
        action, equals, weight = text.rpartition("=")
        if not (equals and action):
            raise click.ClickException(f"{_name(parameter)}: expected ACTION=WEIGHT, received {text!r}")
        if action in blend:
            raise click.ClickException(f"{_name(parameter)}: expected each action once, received {action!r} twice")
        try:
            blend[action] = float(weight)
        except ValueError:
            blend[action] = math.nan
        if not math.isfinite(blend[action]):
            raise click.ClickException(f"{_name(parameter)}: expected a number after the =, received {text!r}")
    return blend


def _in_32_bits(context: click.Context, parameter: click.Parameter, value: int | None) -> int | None:
    # As a type it would show its bounds in the help, where they mislead.
    return None if value is None else int(_INT32.convert(value, parameter, context))


address_option = click.option("--address", type=TEXT, default="127.0.0.1:50050", show_default=True, help="The gateway.")
count_option = click.option("--count", type=int, callback=_in_32_bits, help="How many, 1..200.  [default: 20]")
any_of_option = click.option(
    "--any-of",
    "conditions",
    type=(TEXT, TEXT),
    multiple=True,
    help="ATTRIBUTE a,b: only items with one of these values.",
)
ranker_option = click.option("--ranker", type=TEXT, default="", help="A ranker of the bundle.  [default: its own]")
blend_option = click.option(
    "--blend",
    type=TEXT,
    multiple=True,
    callback=weights,
    metavar="ACTION=WEIGHT",
    help="How much an action counts, 0 or more; may be repeated, and actions not named then count nothing.",
)
pin_option = click.option(
    "--pin", "pins", type=TEXT, multiple=True, metavar="ID", help="An item that stands first; may be repeated."
)
attribute_option = click.option(
    "--attribute", "attributes", type=TEXT, multiple=True, help="An attribute to show; may be repeated."
)
timeout_option = click.option("--timeout-ms", type=FiniteRange(min=1), default=2000.0, show_default=True)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


def filter_of(conditions: tuple[tuple[str, str], ...]) -> common_pb2.Filter:
    """The filter that ``--any-of`` asks for."""
    return common_pb2.Filter(
        conditions=[
            common_pb2.Condition(attribute=name, any_of=[value.strip() for value in values.split(",")])
            for name, values in conditions
        ]
    )


def person_and_rules(command: F) -> F:
    """Adds the options that say for whom and by which rules, but for ``--user``: items, tags, count, and so on."""
    for option in reversed(_PERSON_AND_RULES):
        command = option(command)
    return command


_PERSON_AND_RULES = (
    click.option(
        "--items", type=TEXT, callback=split, help="Recent item ids a,b,c, oldest first, instead of a stored history."
    ),
    click.option(
        "--tag", "tags", type=TEXT, multiple=True, help="An interest of somebody without a history; may be repeated."
    ),
    count_option,
    any_of_option,
    click.option("--exclude", type=TEXT, callback=split, help="Item ids a,b,c not to recommend."),
    click.option("--include-seen", is_flag=True, help="Also items that the person has already seen."),
    click.option("--diversity", type=FiniteFloat(), default=0.0, show_default=True, help="0..1."),
)
