"""Messages to the engine's types, with every bound of the contract checked, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.explanations import Explanation, in_words
from ranking_service.engine.query import RankedItems, RankingQuery, SelectionPolicy
from twostage.errors import InvalidField
from twostage.messages.answers import write_shortfall, write_timings
from twostage.messages.bounds import (
    MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTE_COUNT,
    MAX_CANDIDATE_COUNT,
    MAX_NAME_BYTES,
    check_length,
    checked_count,
    checked_numbers,
    checked_rows,
    checked_text,
    checked_texts,
)
from twostage.messages.context import read_context
from twostage.messages.diversity import read_diversity
from twostage.messages.history import RowsOf, read_history
from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2

MAX_PINNED_COUNT = 200
MAX_BLEND_COUNT = 64


def to_query(
    request: ranking_pb2.RankRequest,
    rows_of: RowsOf,
    action_codes: Mapping[str, int],
) -> RankingQuery:
    """Reads a request. What depends on the generation (rows, names) the engine checks.

    Args:
        request: What came.
        rows_of: Ids to rows, -1 where unknown.
        action_codes: The codes of recorded actions, from 1; others count as unknown, 0.

    Raises:
        InvalidField: A field is out of its bounds, or columns differ in length.
    """
    count = checked_count("count", request.count, MAX_CANDIDATE_COUNT)
    rows, scores = _candidates(request.candidates)
    check_length("blend", request.blend, MAX_BLEND_COUNT)
    attributes = checked_texts("attributes", request.attributes, MAX_ATTRIBUTE_COUNT, MAX_ATTRIBUTE_BYTES, least=0)
    history = read_history(request.history, rows_of, action_codes)
    return RankingQuery(
        history=history,
        context=read_context(request.context),
        candidate_rows=rows,
        retrieval_scores=scores,
        count=count,
        ranker=checked_text("ranker", request.ranker, MAX_NAME_BYTES),
        blend=dict(request.blend),
        selection=_selection(request.selection) if request.HasField("selection") else SelectionPolicy(),
        attributes=tuple(attributes),
        explain=request.explain,
        trace=request.trace,
        history_weights=_history_weights(request, rows_of) if request.history_weights else None,
    )


def _candidates(columns: retrieval_pb2.CandidateColumns) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    rows = checked_rows("candidates.rows", columns.rows, MAX_CANDIDATE_COUNT)
    count = len(rows)
    if len(columns.scores) != count:
        raise InvalidField("candidates.scores", f"{count} entries, one for each row", len(columns.scores))
    for name, length in (("sources", len(columns.sources)), ("item_ids", len(columns.item_ids))):
        if length not in (0, count):
            raise InvalidField(f"candidates.{name}", f"0 or {count} entries, one for each row", length)
    return rows, checked_numbers("candidates.scores", columns.scores)


def _history_weights(request: ranking_pb2.RankRequest, rows_of: RowsOf) -> NDArray[np.float32]:
    """The weights of the entries that the history keeps, which are those of known items."""
    item_ids = request.history.item_ids
    count = len(item_ids or request.history.rows)
    if len(request.history_weights) != count:
        received = len(request.history_weights)
        raise InvalidField("history_weights", f"0 or {count} entries, one for each of the history", received)
    weights = checked_numbers("history_weights", request.history_weights)
    if (weights < 0).any():
        position = int(np.argmax(weights < 0))
        raise InvalidField(f"history_weights[{position}]", "0 or more", float(weights[position]))
    return weights[rows_of(list(item_ids)) >= 0] if item_ids else weights


def _selection(message: ranking_pb2.SelectionPolicy) -> SelectionPolicy:
    diversity = read_diversity(message.diversity, "selection.diversity")
    check_length("selection.pinned_rows", message.pinned_rows, MAX_PINNED_COUNT)
    return SelectionPolicy(diversity.strength, diversity.caps, tuple(message.pinned_rows))


def to_response(generation: int, ranked: RankedItems) -> ranking_pb2.RankResponse:
    """Writes an answer."""
    rows: list[int] = ranked.rows.tolist()
    scores: list[float] = ranked.scores.tolist()
    action_scores: list[list[float]] = ranked.action_scores.tolist()
    indices: list[int] = ranked.candidate_indices.tolist()
    response = ranking_pb2.RankResponse(generation=generation, ranker=ranked.ranker, actions=ranked.actions)
    items = response.items
    add = items.add
    # Set one by one: through the constructor twenty items take twice as long.
    for row, item_id, title, score, by_action, index in zip(
        rows, ranked.item_ids, ranked.titles, scores, action_scores, indices, strict=True
    ):
        item = add()
        item.row = row
        item.item_id = item_id
        item.title = title
        item.score = score
        item.action_scores.extend(by_action)
        item.candidate_index = index
    if ranked.ranking_ranks is not None:
        for item, rank in zip(items, ranked.ranking_ranks.tolist(), strict=True):
            item.ranking_rank = rank
    for message, attributes in zip(items, ranked.attributes, strict=False):
        message.attributes.update(attributes)
    for message, explanations in zip(items, ranked.explanations, strict=False):
        for explanation in explanations:
            message.reasons.append(in_words(explanation))
            _write_explanation(message.explanations.add(), explanation)
    # A model server does not tell its own time: its step is the whole wait for it.
    write_timings(response.timings, ranked.timings_ms.items())
    if ranked.shortfall is not None:
        write_shortfall(response.shortfall, ranked.shortfall.missing_count, ranked.shortfall.reason)
    return response


def _write_explanation(message: common_pb2.Explanation, explanation: Explanation) -> None:
    message.item_id = explanation.item_id
    message.title = explanation.title
    message.attention = explanation.attention or 0.0
    message.similarity = explanation.similarity
    message.retrieval_part = explanation.retrieval_part
    message.ranking_effect = explanation.ranking_effect or 0.0
