"""``twostage explain``: ask the gateway why an item is where it is, print the story."""

from __future__ import annotations

import click
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twostage.client import CallFailed, Client
from twostage.commands.request_options import (
    TEXT,
    address_option,
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
from twostage.v1 import common_pb2, gateway_pb2

_EFFECTS = {
    gateway_pb2.EXPLAIN_EFFECT_KEPT: "kept",
    gateway_pb2.EXPLAIN_EFFECT_MOVED: "moved",
    gateway_pb2.EXPLAIN_EFFECT_LOST: "lost",
}
_OUTCOMES = {
    gateway_pb2.ITEM_OUTCOME_EXCLUDED: "may not be recommended",
    gateway_pb2.ITEM_OUTCOME_FILTERED: "does not pass the filter",
    gateway_pb2.ITEM_OUTCOME_NOT_RETRIEVED: "was no candidate",
    gateway_pb2.ITEM_OUTCOME_OUTRANKED: "scored too low",
    gateway_pb2.ITEM_OUTCOME_PASSED_OVER: "was passed over",
}


@click.command()
@click.argument("item_id", type=TEXT)
@click.option("--user", type=TEXT, default="", help="For whom; an unknown user gets the cold-start answer.")
@person_and_rules
@click.option(
    "--cap", "caps", type=(TEXT, int), multiple=True, help="ATTRIBUTE N: at most N items may share a value of it."
)
@ranker_option
@blend_option
@pin_option
@timeout_option
@json_option
@address_option
@gateway_options
def explain(
    item_id: str,
    user: str,
    items: tuple[str, ...],
    tags: tuple[str, ...],
    count: int | None,
    conditions: tuple[tuple[str, str], ...],
    exclude: tuple[str, ...],
    include_seen: bool,
    diversity: float,
    caps: tuple[tuple[str, int], ...],
    ranker: str,
    blend: dict[str, float],
    pins: tuple[str, ...],
    timeout_ms: float,
    as_json: bool,
    address: str,
    access: GatewayAccess,
) -> None:
    """Ask the gateway why ITEM_ID is where it is in an answer, or which stage and rule lost it."""
    request = gateway_pb2.RecommendRequest(
        user_id=user,
        recent_item_ids=items,
        interest_tags=tags,
        count=count,
        filter=filter_of(conditions),
        exclude_item_ids=exclude,
        include_seen=include_seen,
        diversity=common_pb2.Diversity(
            strength=diversity, caps=[common_pb2.Cap(attribute=name, max_count=most) for name, most in caps]
        ),
        ranker=ranker,
        blend=blend,
        pinned_item_ids=pins,
    )
    try:
        with Client(address, timeout_seconds=timeout_ms / 1000, access=access) as client:
            response = client.explain(item_id, request)
    except CallFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(MessageToJson(response, preserving_proto_field_name=True))
    else:
        _print_story(make_console(), item_id, response)


def _print_story(console: Console, item_id: str, response: gateway_pb2.ExplainResponse) -> None:
    item = response.recommendation
    named = f"{item.title} ({item_id})" if item.title else item_id
    if response.outcome == gateway_pb2.ITEM_OUTCOME_RECOMMENDED:
        headline = f"{named} is recommended at {response.position}"
    else:
        headline = f"{named} {_OUTCOMES.get(response.outcome, 'is not recommended')}, lost by {response.lost_by}"
    console.print(escape(headline), style="bold", soft_wrap=True)
    table = Table("stage", "rule", "effect", "what happened", box=None, pad_edge=False)
    for step in response.steps:
        effect = _EFFECTS.get(step.effect, "")
        style = "red" if effect == "lost" else None
        table.add_row(escape(step.stage), escape(step.rule), effect, escape(step.words), style=style)
    console.print(table)
    last = response.steps[-1] if response.steps else None
    if last is not None and last.numbers:
        told = " · ".join(f"{name} {number:.6g}" for name, number in sorted(last.numbers.items()))
        console.print(f"{last.stage}: {told}", soft_wrap=True, markup=False)
    for reason in item.reasons:
        console.print(reason, soft_wrap=True, markup=False)
    rung = gateway_pb2.Rung.Name(response.rung)
    because = f" ({response.rung_reason})" if response.rung_reason else ""
    console.print(
        f"generation {response.generation} · {rung}{because} · request {response.request_id}",
        markup=False,
        soft_wrap=True,
    )
    if response.arms:
        arms = ", ".join(f"{each.experiment}={each.arm}" for each in response.arms)
        console.print(f"arms {arms}", markup=False, soft_wrap=True)
