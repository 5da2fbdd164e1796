"""Recommend's messages to the engine's dataclasses, checked against the contract's bounds, and back."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.bounds import checked_text, checked_texts, checked_time
from gateway.engine.request import DEFAULT_COUNT, MAX_COUNT, Cap, Diversity, RecommendRequest
from gateway.engine.response import Recommendation, RecommendResponse
from twostage.bundle.filters import Condition, Filter
from twostage.errors import InvalidField
from twostage.features.context import Context
from twostage.v1 import common_pb2, gateway_pb2

MAX_ID_BYTES = 256
_MAX_ATTRIBUTE_BYTES = 128
_MAX_WORD_BYTES = 64

_NO_FILTER = Filter()
_NO_DIVERSITY = Diversity()


def read_recommend_request(message: gateway_pb2.RecommendRequest, now_seconds: Callable[[], float]) -> RecommendRequest:
    """Reads a request.

    Args:
        message: As it came.
        now_seconds: Unix time, asked for when the request does not say when it is made.

    Raises:
        InvalidField: A field breaks the contract's bounds.
    """
    count = message.count if message.HasField("count") else DEFAULT_COUNT
    if not 1 <= count <= MAX_COUNT:
        raise InvalidField("count", f"1 to {MAX_COUNT}", count)
    return RecommendRequest(
        user_id=checked_text("user_id", message.user_id, MAX_ID_BYTES),
        recent_item_ids=checked_texts("recent_item_ids", message.recent_item_ids, 1_000, MAX_ID_BYTES, least=1),
        interest_tags=checked_texts("interest_tags", message.interest_tags, 64, MAX_ID_BYTES, least=1),
        count=count,
        context=_read_context(message.context, now_seconds),
        filter=_read_filter(message.filter) if message.HasField("filter") else _NO_FILTER,
        exclude_item_ids=checked_texts("exclude_item_ids", message.exclude_item_ids, 10_000, MAX_ID_BYTES, least=1),
        include_seen=message.include_seen,
        diversity=_read_diversity(message.diversity) if message.HasField("diversity") else _NO_DIVERSITY,
        attributes=checked_texts("attributes", message.attributes, 32, _MAX_ATTRIBUTE_BYTES),
        explain=message.explain,
        trace=message.trace,
    )


def _read_context(message: common_pb2.Context, now_seconds: Callable[[], float]) -> Context:
    has_time = message.HasField("time")
    if len(message.attributes) > 32:
        raise InvalidField("context.attributes", "at most 32 entries", f"{len(message.attributes)} entries")
    return Context(
        surface=checked_text("context.surface", message.surface, _MAX_WORD_BYTES),
        device=checked_text("context.device", message.device, _MAX_WORD_BYTES),
        locale=checked_text("context.locale", message.locale, _MAX_WORD_BYTES),
        time_seconds=checked_time("context.time", message.time.seconds) if has_time else int(now_seconds()),
        attributes={
            checked_text("context.attributes", key, _MAX_ATTRIBUTE_BYTES): checked_text(
                f"context.attributes[{key}]", value, _MAX_ATTRIBUTE_BYTES
            )
            for key, value in message.attributes.items()
        },
    )


def _read_filter(message: common_pb2.Filter) -> Filter:
    if len(message.conditions) > 32:
        raise InvalidField("filter.conditions", "at most 32 entries", f"{len(message.conditions)} entries")
    return Filter(tuple(_read_condition(f"filter.conditions[{i}]", c) for i, c in enumerate(message.conditions)))


def _read_condition(field: str, message: common_pb2.Condition) -> Condition:
    bounds = message.range
    minimum = bounds.min if bounds.HasField("min") else None
    maximum = bounds.max if bounds.HasField("max") else None
    for name, bound in (("min", minimum), ("max", maximum)):
        if bound is not None and math.isnan(bound):
            raise InvalidField(f"{field}.range.{name}", "a number", bound)
    if minimum is not None and maximum is not None and maximum < minimum:
        raise InvalidField(f"{field}.range.max", f"at least min, {minimum:g}", maximum)
    return Condition(
        attribute=checked_text(f"{field}.attribute", message.attribute, _MAX_ATTRIBUTE_BYTES),
        any_of=tuple(checked_texts(f"{field}.any_of", message.any_of, 1_000, MAX_ID_BYTES)),
        none_of=tuple(checked_texts(f"{field}.none_of", message.none_of, 1_000, MAX_ID_BYTES)),
        minimum=minimum,
        maximum=maximum,
    )


def _read_diversity(message: common_pb2.Diversity) -> Diversity:
    # Written so that NaN is refused as well.
    if not 0 <= message.strength <= 1:
        raise InvalidField("diversity.strength", "0 to 1", message.strength)
    if len(message.caps) > 8:
        raise InvalidField("diversity.caps", "at most 8 entries", f"{len(message.caps)} entries")
    for position, cap in enumerate(message.caps):
        if not 1 <= cap.max_count <= MAX_COUNT:
            raise InvalidField(f"diversity.caps[{position}].max_count", f"1 to {MAX_COUNT}", cap.max_count)
    return Diversity(message.strength, tuple(Cap(cap.attribute, cap.max_count) for cap in message.caps))


def write_recommend_response(response: RecommendResponse) -> gateway_pb2.RecommendResponse:
    """Writes an answer."""
    message = gateway_pb2.RecommendResponse(
        request_id=response.request_id,
        generation=response.generation,
        rung=f"RUNG_{response.rung.name}",
        rung_reason=response.rung_reason,
        unknown_item_count=response.unknown_item_count,
    )
    add = message.recommendations.add
    for recommendation in response.recommendations:
        _write_recommendation(recommendation, add())
    for timing in response.timings:
        step = message.timings.add()
        step.stage, step.compute_ms, step.transport_ms = timing
    if response.shortfall is not None:
        reason = f"SHORTFALL_REASON_{response.shortfall.reason.name}"
        message.shortfall.CopyFrom(common_pb2.Shortfall(missing_count=response.shortfall.missing_count, reason=reason))
    return message


def _write_recommendation(recommendation: Recommendation, message: gateway_pb2.Recommendation) -> None:
    # Field by field and into its place: through constructors it takes two to three times as long.
    message.item_id = recommendation.item_id
    message.score = recommendation.score
    message.title = recommendation.title
    message.candidate_rank = recommendation.candidate_rank
    message.sources.extend(recommendation.sources)
    if recommendation.action_scores:
        action_scores = message.action_scores
        for action, score in recommendation.action_scores.items():
            action_scores[action] = score
    if recommendation.attributes:
        message.attributes.update(recommendation.attributes)
    if recommendation.reasons:
        message.reasons.extend(recommendation.reasons)
    trace = recommendation.trace
    if trace is not None:
        message.trace.retrieval_score = trace.retrieval_score
        message.trace.retrieval_rank = trace.retrieval_rank
        message.trace.ranking_rank = trace.ranking_rank
        message.trace.final_rank = trace.final_rank
