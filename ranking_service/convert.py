"""Messages to the engine's types, with every bound of the contract checked, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.query import Cap, RankedItems, RankingQuery, SelectionPolicy, ShortfallReason
from twostage.errors import InvalidField
from twostage.features.context import Context
from twostage.features.history import History
from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2

MAX_COUNT = 2_000
MAX_CANDIDATES = 2_000
MAX_HISTORY = 1_000
MAX_ID_BYTES = 256
MAX_NAME_BYTES = 64
MAX_CONTEXT_ATTRIBUTES = 32
MAX_CONTEXT_TEXT_BYTES = 128
MAX_CAPS = 8
MAX_CAP_COUNT = 200
MAX_PINNED = 200
MAX_ATTRIBUTES = 32
MAX_ATTRIBUTE_BYTES = 128
MAX_BLEND = 64
# What a Timestamp may hold: years 1 to 9999.
_TIME_SECONDS = (-62_135_596_800, 253_402_300_799)

_REASONS = {
    ShortfallReason.TOO_FEW_CANDIDATES: common_pb2.SHORTFALL_REASON_TOO_FEW_CANDIDATES,
    ShortfallReason.SELECTION_POLICY: common_pb2.SHORTFALL_REASON_SELECTION_POLICY,
}


def to_query(
    request: ranking_pb2.RankRequest,
    rows_of: Callable[[list[str]], NDArray[np.int64]],
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
    if not 1 <= request.count <= MAX_COUNT:
        raise InvalidField("count", f"1 to {MAX_COUNT}", request.count)
    rows, scores = _candidates(request.candidates)
    _check_bytes("ranker", request.ranker, MAX_NAME_BYTES)
    _check_length("blend", request.blend, MAX_BLEND)
    _check_length("attributes", request.attributes, MAX_ATTRIBUTES)
    for position, name in enumerate(request.attributes):
        _check_bytes(f"attributes[{position}]", name, MAX_ATTRIBUTE_BYTES)
    return RankingQuery(
        history=_history(request.history, rows_of, action_codes),
        context=_context(request.context),
        candidate_rows=rows,
        retrieval_scores=scores,
        count=request.count,
        ranker=request.ranker,
        blend=dict(request.blend),
        selection=_selection(request.selection),
        attributes=tuple(request.attributes),
        explain=request.explain,
        trace=request.trace,
    )


def _check_length(field: str, column: Sized, most: int) -> None:
    if len(column) > most:
        raise InvalidField(field, f"at most {most} entries", len(column))


def _check_bytes(field: str, text: str, most: int, least: int = 0) -> None:
    # A character takes at most four bytes, so short texts need no encoding to be measured.
    if len(text) < least or (len(text) * 4 > most and len(text.encode()) > most):
        raise InvalidField(field, f"{least} to {most} bytes of UTF-8" if least else f"at most {most} bytes", text)


def _candidates(columns: retrieval_pb2.CandidateColumns) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    _check_length("candidates.rows", columns.rows, MAX_CANDIDATES)
    rows = np.array(columns.rows, np.uint32)
    if len(columns.scores) != len(rows):
        raise InvalidField("candidates.scores", f"{len(rows)} entries, one for each row", len(columns.scores))
    for name, column in (("sources", columns.sources), ("item_ids", columns.item_ids)):
        if len(column) not in (0, len(rows)):
            raise InvalidField(f"candidates.{name}", f"0 or {len(rows)} entries, one for each row", len(column))
    scores = np.array(columns.scores, np.float32)
    finite = np.isfinite(scores)
    if not finite.all():
        position = int(np.argmin(finite))
        raise InvalidField(f"candidates.scores[{position}]", "a finite number", float(scores[position]))
    return rows, scores


def _history(
    message: common_pb2.History,
    rows_of: Callable[[list[str]], NDArray[np.int64]],
    action_codes: Mapping[str, int],
) -> History:
    if message.rows and message.item_ids:
        raise InvalidField(
            "history.item_ids", "rows or item_ids, never both", f"{len(message.item_ids)} ids beside rows"
        )
    field, column = ("item_ids", message.item_ids) if message.item_ids else ("rows", message.rows)
    _check_length(f"history.{field}", column, MAX_HISTORY)
    count = len(column)
    _check_columns(message, count)
    if message.item_ids:
        for position, item_id in enumerate(message.item_ids):
            _check_bytes(f"history.item_ids[{position}]", item_id, MAX_ID_BYTES, least=1)
        rows = rows_of(list(message.item_ids))
    else:
        rows = np.array(message.rows, np.int64)
    values = np.array(message.values, np.float32) if message.values else np.full(count, np.nan, np.float32)
    infinite = np.isinf(values)
    if infinite.any():
        position = int(np.argmax(infinite))
        raise InvalidField(f"history.values[{position}]", "a finite number, or NaN for none", float(values[position]))
    actions = _action_codes(message.actions, action_codes) if message.actions else np.zeros(count, np.int32)
    times = np.array(message.times_seconds, np.int64) if message.times_seconds else np.zeros(count, np.int64)
    known = rows >= 0
    if not known.all():
        rows, actions, values, times = rows[known], actions[known], values[known], times[known]
    return History(rows.astype(np.uint32), actions, values, times)


def _check_columns(message: common_pb2.History, count: int) -> None:
    columns: Mapping[str, Sized] = {
        "actions": message.actions,
        "values": message.values,
        "times_seconds": message.times_seconds,
    }
    for name, column in columns.items():
        if len(column) not in (0, count):
            raise InvalidField(f"history.{name}", f"0 or {count} entries, one for each item", len(column))


def _action_codes(names: Iterable[str], known: Mapping[str, int]) -> NDArray[np.int32]:
    codes = [known.get(name, 0) for name in names]
    if 0 in codes:
        for position, name in enumerate(names):
            _check_bytes(f"history.actions[{position}]", name, MAX_NAME_BYTES)
    return np.array(codes, np.int32)


def _context(message: common_pb2.Context) -> Context:
    for field, text in (("surface", message.surface), ("device", message.device), ("locale", message.locale)):
        _check_bytes(f"context.{field}", text, MAX_NAME_BYTES)
    _check_length("context.attributes", message.attributes, MAX_CONTEXT_ATTRIBUTES)
    for key, value in message.attributes.items():
        _check_bytes("context.attributes", key, MAX_CONTEXT_TEXT_BYTES)
        _check_bytes(f"context.attributes[{key}]", value, MAX_CONTEXT_TEXT_BYTES)
    seconds = message.time.seconds
    if not _TIME_SECONDS[0] <= seconds <= _TIME_SECONDS[1]:
        raise InvalidField("context.time.seconds", "a time in the years 1 to 9999", seconds)
    return Context(message.surface, message.device, message.locale, seconds, dict(message.attributes))


def _selection(message: ranking_pb2.SelectionPolicy) -> SelectionPolicy:
    strength = message.diversity.strength
    # Written so that NaN is refused too.
    if not 0.0 <= strength <= 1.0:
        raise InvalidField("selection.diversity.strength", "0 to 1", strength)
    _check_length("selection.diversity.caps", message.diversity.caps, MAX_CAPS)
    for position, cap in enumerate(message.diversity.caps):
        field = f"selection.diversity.caps[{position}]"
        _check_bytes(f"{field}.attribute", cap.attribute, MAX_ATTRIBUTE_BYTES, least=1)
        if not 1 <= cap.max_count <= MAX_CAP_COUNT:
            raise InvalidField(f"{field}.max_count", f"1 to {MAX_CAP_COUNT}", cap.max_count)
    _check_length("selection.pinned_rows", message.pinned_rows, MAX_PINNED)
    return SelectionPolicy(
        strength=strength,
        caps=tuple(Cap(cap.attribute, cap.max_count) for cap in message.diversity.caps),
        pinned_rows=tuple(message.pinned_rows),
    )


def to_response(generation: int, ranked: RankedItems) -> ranking_pb2.RankResponse:
    """Writes an answer."""
    rows: list[int] = ranked.rows.tolist()
    scores: list[float] = ranked.scores.tolist()
    action_scores: list[list[float]] = ranked.action_scores.tolist()
    indices: list[int] = ranked.candidate_indices.tolist()
    ranks: Sequence[int] = ranked.ranking_ranks.tolist() if ranked.ranking_ranks is not None else [0] * len(rows)
    item = ranking_pb2.RankedItem
    items = [
        item(
            row=row,
            item_id=item_id,
            title=title,
            score=score,
            action_scores=by_action,
            candidate_index=index,
            ranking_rank=rank,
        )
        for row, item_id, title, score, by_action, index, rank in zip(
            rows, ranked.item_ids, ranked.titles, scores, action_scores, indices, ranks, strict=True
        )
    ]
    for message, attributes in zip(items, ranked.attributes, strict=False):
        message.attributes.update(attributes)
    for message, texts in zip(items, ranked.reasons, strict=False):
        message.reasons.extend(texts)
    response = ranking_pb2.RankResponse(
        generation=generation,
        items=items,
        # A model server does not tell its own time: its step is the whole wait for it.
        timings=[common_pb2.Timing(stage=stage, compute_ms=ms) for stage, ms in ranked.timings_ms.items()],
        actions=ranked.actions,
    )
    if ranked.shortfall is not None:
        response.shortfall.missing_count = ranked.shortfall.missing_count
        response.shortfall.reason = _REASONS[ranked.shortfall.reason]
    return response
