"""Answers of the gateway as tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twostage.v1 import common_pb2, gateway_pb2

_Answer = gateway_pb2.RecommendResponse | gateway_pb2.RecommendationServiceSimilarItemsResponse


def print_answer(
    console: Console, response: gateway_pb2.RecommendResponse, *, attributes: tuple[str, ...] = ()
) -> None:
    """Prints what was recommended, why it is so many, who answered and how long each stage took.

    Args:
        console: Where to.
        response: The gateway's answer.
        attributes: The attributes that were asked for, a column each.
    """
    actions = sorted({name for item in response.recommendations for name in item.action_scores})
    explained = any(item.reasons for item in response.recommendations)
    table = Table("", "item", "title", *attributes, "score", *actions, "source", "candidate", box=None, pad_edge=False)
    if explained:
        table.add_column("why")
    for position, item in enumerate(response.recommendations, start=1):
        table.add_row(
            str(position),
            escape(item.item_id),
            escape(item.title),
            *(escape(item.attributes.get(name, "")) for name in attributes),
            f"{item.score:.4g}",
            *(f"{item.action_scores[name]:.3f}" if name in item.action_scores else "" for name in actions),
            ", ".join(item.sources),
            str(item.candidate_rank or ""),
            *(["; ".join(map(escape, item.reasons))] if explained else []),
        )
    console.print(table)
    for position, item in enumerate(response.recommendations, start=1):
        _print_inside(console, position, item)
    _print_origin(console, response)
    if response.ranker:
        console.print(f"ranked by {escape(response.ranker)}")
    if response.unknown_item_count:
        console.print(f"{response.unknown_item_count} item(s) of the history are not in this generation")
    _print_timings(console, response)


def _print_inside(console: Console, position: int, item: gateway_pb2.Recommendation) -> None:
    """Prints what each stage did to an item and what carried it, as far as that was asked for."""
    lines = [f"  {escape(step)}" for step in item.trace.steps]
    for each in item.explanations:
        named = f"{escape(each.title)} ({escape(each.item_id)})" if each.title else escape(each.item_id)
        # 0 stands for what a stage did not tell.
        match = f"likeness {each.similarity:.2f}"
        if each.attention:
            match = f"attention {each.attention:.2f} · {match} = {each.retrieval_part:.3f} of the retrieval score"
        effect = f", {each.ranking_effect:+.3f} to the ranker's log odds" if each.ranking_effect else ""
        lines.append(f"  carried by {named}: {match}{effect}")
    if lines:
        console.print(f"{position}. {escape(item.title or item.item_id)}")
        for line in lines:
            console.print(line, soft_wrap=True)


def print_similar(
    console: Console,
    response: gateway_pb2.RecommendationServiceSimilarItemsResponse,
    *,
    attributes: tuple[str, ...] = (),
) -> None:
    """Prints what is like an item, who answered and how long it took; arguments as of :func:`print_answer`."""
    table = Table("", "item", "title", *attributes, "score", box=None, pad_edge=False)
    for position, item in enumerate(response.items, start=1):
        table.add_row(
            str(position),
            escape(item.item_id),
            escape(item.title),
            *(escape(item.attributes.get(name, "")) for name in attributes),
            f"{item.score:.4g}",
        )
    console.print(table)
    _print_origin(console, response)
    _print_timings(console, response)


def _print_origin(console: Console, response: _Answer) -> None:
    """Prints who answered, why, and what is missing."""
    rung = gateway_pb2.Rung.Name(response.rung)
    reason = f" ({escape(response.rung_reason)})" if response.rung_reason else ""
    console.print(f"generation {response.generation} · {rung}{reason} · request {response.request_id}")
    if response.HasField("shortfall"):
        reason = common_pb2.ShortfallReason.Name(response.shortfall.reason).removeprefix("SHORTFALL_REASON_")
        console.print(f"{response.shortfall.missing_count} missing: {reason.lower().replace('_', ' ')}")


def _print_timings(console: Console, response: _Answer) -> None:
    if response.timings:
        console.print(" · ".join(_timing(timing) for timing in response.timings))


def _timing(timing: common_pb2.Timing) -> str:
    transport = f" + {timing.transport_ms:.2f} ms transport" if timing.transport_ms else ""
    return f"{timing.stage} {timing.compute_ms:.2f} ms{transport}"
