"""Between messages and the engine's dataclasses; what breaks the contract is refused here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.query import Candidates, Gathered, RetrievalQuery, Shard, SimilarQuery
from retrieval_service.packing import packed_floats, packed_varints
from twostage.bundle.id_table import IdTable
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList
from twostage.errors import InvalidField, ItemNotFound
from twostage.messages.answers import write_shortfall, write_timings
from twostage.messages.bounds import (
    MAX_CANDIDATE_COUNT,
    MAX_EXCLUDED_ID_COUNT,
    MAX_ID_BYTES,
    MAX_TAG_COUNT,
    checked_count,
    checked_rows,
    checked_text,
    checked_texts,
)
from twostage.messages.filters import read_filter
from twostage.messages.history import read_history_items
from twostage.v1 import retrieval_pb2

MAX_EXCLUDED_ROW_COUNT = 20_000
MAX_INCLUDED_COUNT = 200

_NUMBERS = {source: getattr(retrieval_pb2, f"SOURCE_{source.name}") for source in Source}
_SOURCES = {number: source for source, number in _NUMBERS.items()}
_COLUMNS = retrieval_pb2.CandidateColumns
_LIST = retrieval_pb2.SourceList

Answer = retrieval_pb2.RetrieveResponse | retrieval_pb2.RetrievalServiceSimilarItemsResponse


def query_of(request: retrieval_pb2.RetrieveRequest, ids: IdTable) -> RetrievalQuery:
    """Reads a request.

    Args:
        request: The request.
        ids: The ids of the generation that it is for.

    Raises:
        InvalidField: A field breaks the contract.
    """
    return RetrievalQuery(
        # The user tower reads items alone; the other columns are the rankers'.
        history=read_history_items(request.history, ids.rows, item_count=len(ids)),
        count=checked_count("count", request.count, MAX_CANDIDATE_COUNT),
        exclude_rows=_excluded(request, ids),
        filter=read_filter(request.filter),
        interest_tags=tuple(checked_texts("interest_tags", request.interest_tags, MAX_TAG_COUNT)),
        quotas=_quotas(request.quotas) if request.quotas else {},
        include_rows=_known_rows("include_item_ids", request.include_item_ids, MAX_INCLUDED_COUNT, ids),
        return_source_ranks=request.return_source_ranks,
        return_history_weights=request.return_history_weights,
    )


def similar_query_of(request: retrieval_pb2.RetrievalServiceSimilarItemsRequest, ids: IdTable) -> SimilarQuery:
    """Reads a request for the items nearest to one.

    Args:
        request: The request.
        ids: The ids of the generation that it is for.

    Raises:
        InvalidField: A field breaks the contract.
        ItemNotFound: The generation has no such item.
    """
    item_id = checked_text("item_id", request.item_id, MAX_ID_BYTES, least=1)
    count = checked_count("count", request.count, MAX_CANDIDATE_COUNT)
    exclude_rows = _known_rows("exclude_item_ids", request.exclude_item_ids, MAX_EXCLUDED_ID_COUNT, ids)
    row = int(ids.rows([item_id])[0])
    if row < 0:
        raise ItemNotFound(item_id)
    return SimilarQuery(row, count, exclude_rows, read_filter(request.filter))


def response_of(
    candidates: Candidates,
    *,
    generation: int,
    history_rows: NDArray[np.uint32],
    ids: IdTable | None,
    resolve_ms: float,
) -> retrieval_pb2.RetrieveResponse:
    """Writes an answer.

    Args:
        candidates: The engine's answer.
        generation: The generation that the rows belong to.
        history_rows: The history's rows as resolved.
        ids: Given when the caller wants ids beside the rows.
        resolve_ms: How long reading the request took.
    """
    response = retrieval_pb2.RetrieveResponse(generation=generation)
    _write_columns(response.candidates, candidates, ids)
    response.history_rows.extend(history_rows.tolist())
    _write_history_weights(response, candidates)
    _write_rest(response, candidates, resolve_ms)
    return response


def similar_response_of(
    candidates: Candidates, *, generation: int, resolve_ms: float
) -> retrieval_pb2.RetrievalServiceSimilarItemsResponse:
    """Writes the items nearest to one.

    Args:
        candidates: The engine's answer.
        generation: The generation that the rows belong to.
        resolve_ms: How long reading the request took.
    """
    response = retrieval_pb2.RetrievalServiceSimilarItemsResponse(generation=generation)
    _write_columns(response.items, candidates)
    _write_rest(response, candidates, resolve_ms)
    return response


def write_gathered(response: Answer, gathered: Gathered, shard: Shard, resolve_ms: float) -> None:
    """Fills the answer of a shard.

    Args:
        response: The answer, with its generation.
        gathered: What the sources brought.
        shard: Which part of the catalogue was searched.
        resolve_ms: How long reading the request took.
    """
    for entry in gathered.lists:
        _write_list(response.lists.add(), entry)
    response.allowed_count = gathered.allowed_count
    if isinstance(response, retrieval_pb2.RetrieveResponse):
        _write_history_weights(response, gathered)
    response.answered_shard.index = shard.index
    response.answered_shard.count = shard.count
    write_timings(response.timings, [("resolve", resolve_ms), *gathered.timings_ms.items()])


def _write_columns(columns: retrieval_pb2.CandidateColumns, candidates: Candidates, ids: IdTable | None = None) -> None:
    # Rows take three octets or so each, and cutting them takes as long as extending.
    columns.rows.extend(candidates.rows.tolist())
    columns.MergeFromString(
        packed_floats(_COLUMNS.SCORES_FIELD_NUMBER, candidates.scores)
        + packed_varints(_COLUMNS.SOURCES_FIELD_NUMBER, candidates.sources)
    )
    if ids is not None:
        columns.item_ids.extend(ids.ids(candidates.rows))
    for source, ranks in candidates.source_ranks.items():
        columns.source_ranks.add(source=_NUMBERS[source]).MergeFromString(
            packed_varints(retrieval_pb2.SourceRanks.RANKS_FIELD_NUMBER, ranks)
        )


def _write_list(message: retrieval_pb2.SourceList, entry: SourceList) -> None:
    message.source = _NUMBERS[entry.source]
    message.group = entry.group
    message.wanted_count = entry.wanted_count
    message.pool_count = entry.pool_count
    message.rows.extend(entry.rows.tolist())
    packed = packed_floats(_LIST.SCORES_FIELD_NUMBER, entry.scores)
    if entry.keys is not None:
        packed += packed_floats(_LIST.KEYS_FIELD_NUMBER, entry.keys)
    if entry.code_keys is not None:
        packed += packed_floats(_LIST.CODE_KEYS_FIELD_NUMBER, entry.code_keys)
    message.MergeFromString(packed)


def _write_history_weights(response: retrieval_pb2.RetrieveResponse, found: Candidates | Gathered) -> None:
    if found.history_weights is not None:
        response.history_weights.extend(found.history_weights.tolist())


def _write_rest(response: Answer, candidates: Candidates, resolve_ms: float) -> None:
    shortfall = candidates.shortfall
    if shortfall is not None:
        write_shortfall(response.shortfall, shortfall.missing_count, shortfall.reason)
    write_timings(response.timings, [("resolve", resolve_ms), *candidates.timings_ms.items()])


def _known_rows(field: str, item_ids: Sequence[str], most_count: int, ids: IdTable) -> NDArray[np.uint32]:
    """The rows of ids, unknown ones left out."""
    if not item_ids:
        return np.empty(0, np.uint32)
    rows = ids.rows(checked_texts(field, item_ids, most_count))
    return rows[rows >= 0].astype(np.uint32)


def _excluded(request: retrieval_pb2.RetrieveRequest, ids: IdTable) -> NDArray[np.uint32]:
    by_id = _known_rows("exclude_item_ids", request.exclude_item_ids, MAX_EXCLUDED_ID_COUNT, ids)
    by_row = checked_rows("exclude_rows", request.exclude_rows, MAX_EXCLUDED_ROW_COUNT, item_count=len(ids))
    return by_row if not len(by_id) else np.concatenate([by_row, by_id])


def _quotas(quotas: Sequence[retrieval_pb2.Quota]) -> dict[Source, int]:
    limits: dict[Source, int] = {}
    for position, quota in enumerate(quotas):
        field = f"quotas[{position}]"
        source = _SOURCES.get(quota.source)
        if source is None:
            names = ", ".join(retrieval_pb2.Source.Name(number) for number in _SOURCES)
            raise InvalidField(f"{field}.source", f"one of {names}", int(quota.source))
        if source in limits:
            raise InvalidField(
                f"{field}.source", "each source once", retrieval_pb2.Source.Name(quota.source) + " again"
            )
        limits[source] = checked_count(f"{field}.max_count", quota.max_count, MAX_CANDIDATE_COUNT, least=0)
    return limits
