"""Messages of Recommend and SimilarItems to the engine's dataclasses, checked against the contract, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.engine.person import MAX_VALUE
from gateway.engine.request import DEFAULT_COUNT, MAX_COUNT, RecommendRequest
from gateway.engine.response import Recommendation, RecommendResponse, Shortfall, Timing
from gateway.engine.similar import SimilarRequest, SimilarResponse
from twostage.bundle.filters import Filter
from twostage.errors import InvalidField
from twostage.features.diversity import Diversity
from twostage.messages.answers import write_shortfall
from twostage.messages.bounds import (
    MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTE_COUNT,
    MAX_EXCLUDED_ID_COUNT,
    MAX_HISTORY_COUNT,
    MAX_ID_BYTES,
    MAX_NAME_BYTES,
    MAX_TAG_COUNT,
    check_length,
    checked_count,
    checked_text,
    checked_texts,
)
from twostage.messages.context import read_context
from twostage.messages.diversity import read_diversity
from twostage.messages.filters import read_filter
from twostage.v1 import gateway_pb2

MAX_BLEND_COUNT = 32
MAX_PINNED_COUNT = 200

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
    return RecommendRequest(
        user_id=checked_text("user_id", message.user_id, MAX_ID_BYTES),
        recent_item_ids=checked_texts("recent_item_ids", message.recent_item_ids, MAX_HISTORY_COUNT),
        interest_tags=checked_texts("interest_tags", message.interest_tags, MAX_TAG_COUNT),
        count=_count(message),
        context=read_context(message.context, now_seconds),
        filter=read_filter(message.filter) if message.HasField("filter") else _NO_FILTER,
        exclude_item_ids=checked_texts("exclude_item_ids", message.exclude_item_ids, MAX_EXCLUDED_ID_COUNT),
        include_seen=message.include_seen,
        diversity=read_diversity(message.diversity) if message.HasField("diversity") else _NO_DIVERSITY,
        attributes=checked_texts("attributes", message.attributes, MAX_ATTRIBUTE_COUNT, MAX_ATTRIBUTE_BYTES, least=0),
        explain=message.explain,
        trace=message.trace,
        ranker=checked_text("ranker", message.ranker, MAX_NAME_BYTES),
        blend=_blend(message.blend) if message.blend else {},
        pinned_item_ids=checked_texts("pinned_item_ids", message.pinned_item_ids, MAX_PINNED_COUNT),
    )


def _blend(weights: Mapping[str, float]) -> Mapping[str, float]:
    check_length("blend", weights, MAX_BLEND_COUNT)
    blend = dict(weights)
    for action, weight in blend.items():
        checked_text("blend", action, MAX_NAME_BYTES, least=1)
        # Written so that NaN is refused as well.
        if not 0 <= weight <= MAX_VALUE:
            raise InvalidField(f"blend[{action}]", "a finite weight of 0 or more", weight)
    return blend


def write_recommend_response(response: RecommendResponse) -> gateway_pb2.RecommendResponse:
    """Writes an answer."""
    message = gateway_pb2.RecommendResponse(
        request_id=response.request_id,
        generation=response.generation,
        rung=f"RUNG_{response.rung.name}",
        rung_reason=response.rung_reason,
        unknown_item_count=response.unknown_item_count,
        ranker=response.ranker,
    )
    add = message.recommendations.add
    for recommendation in response.recommendations:
        write_recommendation(recommendation, add())
    for experiment, arm in response.arms:
        message.arms.add(experiment=experiment, arm=arm)
    _write_footing(message, response.timings, response.shortfall)
    return message


def write_recommendation(recommendation: Recommendation, message: gateway_pb2.Recommendation) -> None:
    """Writes one recommendation into its place."""
    # Field by field and into its place: through constructors it takes two to three times as long.
    message.item_id = recommendation.item_id
    message.score = recommendation.score
    message.title = recommendation.title
    message.candidate_rank = recommendation.candidate_rank
    message.propensity = recommendation.propensity
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
        message.trace.source_ranks.update(trace.source_ranks)
        message.trace.steps.extend(trace.steps)
    for explanation in recommendation.explanations:
        added = message.explanations.add()
        added.item_id = explanation.item_id
        added.title = explanation.title
        added.attention = explanation.attention
        added.similarity = explanation.similarity
        added.retrieval_part = explanation.retrieval_part
        added.ranking_effect = explanation.ranking_effect


def read_similar_request(message: gateway_pb2.RecommendationServiceSimilarItemsRequest) -> SimilarRequest:
    """Reads a request for similar items.

    Raises:
        InvalidField: A field breaks the contract's bounds.
    """
    return SimilarRequest(
        item_id=checked_text("item_id", message.item_id, MAX_ID_BYTES, least=1),
        count=_count(message),
        filter=read_filter(message.filter) if message.HasField("filter") else _NO_FILTER,
        exclude_item_ids=checked_texts("exclude_item_ids", message.exclude_item_ids, MAX_EXCLUDED_ID_COUNT),
        attributes=checked_texts("attributes", message.attributes, MAX_ATTRIBUTE_COUNT, MAX_ATTRIBUTE_BYTES, least=0),
    )


def write_similar_response(response: SimilarResponse) -> gateway_pb2.RecommendationServiceSimilarItemsResponse:
    """Writes an answer of similar items."""
    message = gateway_pb2.RecommendationServiceSimilarItemsResponse(
        request_id=response.request_id,
        generation=response.generation,
        rung=f"RUNG_{response.rung.name}",
        rung_reason=response.rung_reason,
    )
    for item in response.items:
        added = message.items.add()
        added.item_id = item.item_id
        added.score = item.score
        added.title = item.title
        if item.attributes:
            added.attributes.update(item.attributes)
    _write_footing(message, response.timings, response.shortfall)
    return message


def _count(message: gateway_pb2.RecommendRequest | gateway_pb2.RecommendationServiceSimilarItemsRequest) -> int:
    return checked_count("count", message.count, MAX_COUNT) if message.HasField("count") else DEFAULT_COUNT


def _write_footing(
    message: gateway_pb2.RecommendResponse | gateway_pb2.RecommendationServiceSimilarItemsResponse,
    timings: Sequence[Timing],
    shortfall: Shortfall | None,
) -> None:
    """What every answer ends with: how long it took and what is missing."""
    for timing in timings:
        step = message.timings.add()
        step.stage, step.compute_ms, step.transport_ms = timing
    if shortfall is not None:
        write_shortfall(message.shortfall, shortfall.missing_count, shortfall.reason)
