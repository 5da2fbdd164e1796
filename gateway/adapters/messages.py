"""Parts of messages that both stages take or give."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.engine.person import HistoryColumns
from gateway.engine.response import Shortfall, ShortfallReason, Timing
from twostage.bundle.filters import Filter
from twostage.features.context import Context
from twostage.features.diversity import Diversity
from twostage.v1 import common_pb2, retrieval_pb2

_REASONS = {reason.value: reason for reason in ShortfallReason}


def history_message(history: HistoryColumns) -> common_pb2.History:
    """A history in rows."""
    return common_pb2.History(
        rows=history.rows, actions=history.actions, values=history.values, times_seconds=history.times_seconds
    )


def filter_message(condition_filter: Filter) -> common_pb2.Filter:
    """A filter."""
    message = common_pb2.Filter()
    for condition in condition_filter.conditions:
        added = message.conditions.add(
            attribute=condition.attribute, any_of=condition.any_of, none_of=condition.none_of
        )
        if condition.has_range:
            added.range.CopyFrom(common_pb2.Range(min=condition.minimum, max=condition.maximum))
    return message


def context_message(context: Context) -> common_pb2.Context:
    """A context."""
    message = common_pb2.Context(
        surface=context.surface, device=context.device, locale=context.locale, attributes=context.attributes
    )
    message.time.seconds = context.time_seconds
    return message


def diversity_message(diversity: Diversity) -> common_pb2.Diversity:
    """How a list is spread."""
    return common_pb2.Diversity(
        strength=diversity.strength,
        caps=[common_pb2.Cap(attribute=cap.attribute, max_count=cap.max_count) for cap in diversity.caps],
    )


def read_shortfall(
    message: retrieval_pb2.RetrieveResponse | retrieval_pb2.RetrievalServiceSimilarItemsResponse,
) -> Shortfall | None:
    """A stage's shortfall, None when nothing is missing."""
    if not message.HasField("shortfall"):
        return None
    return Shortfall(
        message.shortfall.missing_count, _REASONS.get(message.shortfall.reason, ShortfallReason.UNSPECIFIED)
    )


def read_timings(stage: str, steps: Iterable[common_pb2.Timing], wait_ms: float) -> list[Timing]:
    """The timing of a call, then those of the steps inside it, named after it: both stages have a step ``select``.

    Args:
        stage: The stage that was called.
        steps: What it says of itself; the step named like the stage, or else all together, is its whole work.
        wait_ms: How long the caller waited.
    """
    whole_ms: float | None = None
    inside: list[Timing] = []
    for step in steps:
        if step.stage == stage:
            whole_ms = step.compute_ms + step.transport_ms
        else:
            inside.append(Timing(f"{stage}.{step.stage}", step.compute_ms, step.transport_ms))
    if whole_ms is None:
        whole_ms = sum(step.compute_ms + step.transport_ms for step in inside)
    return [Timing(stage, whole_ms, max(wait_ms - whole_ms, 0.0)), *inside]
