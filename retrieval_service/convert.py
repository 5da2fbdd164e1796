"""Between messages and the engine's dataclasses; what breaks the contract is refused here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.query import Candidates, RetrievalQuery
from twostage.bundle.id_table import IdTable
from twostage.candidates.source import Source
from twostage.errors import InvalidField
from twostage.messages.answers import write_shortfall, write_timings
from twostage.messages.bounds import (
    MAX_CANDIDATE_COUNT,
    MAX_EXCLUDED_ID_COUNT,
    MAX_TAG_COUNT,
    checked_count,
    checked_rows,
    checked_texts,
)
from twostage.messages.filters import read_filter
from twostage.messages.history import read_history_items
from twostage.v1 import retrieval_pb2

MAX_EXCLUDED_ROW_COUNT = 20_000
MAX_INCLUDED_COUNT = 200

_SOURCES = {
    retrieval_pb2.SOURCE_USER_VECTOR: Source.USER_VECTOR,
    retrieval_pb2.SOURCE_POPULAR: Source.POPULAR,
    retrieval_pb2.SOURCE_INTEREST_TAGS: Source.INTEREST_TAGS,
    retrieval_pb2.SOURCE_INCLUDED: Source.INCLUDED,
}
_SCORES_FIELD = retrieval_pb2.CandidateColumns.SCORES_FIELD_NUMBER
_SOURCES_FIELD = retrieval_pb2.CandidateColumns.SOURCES_FIELD_NUMBER


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
    )


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
    columns = response.candidates
    columns.rows.extend(candidates.rows.tolist())
    # Element by element, a repeated field of 500 takes 14 µs; as the bytes that go over the wire, 1 µs. Floats are
    # packed as little-endian, and a set of four bits is its own one-byte varint.
    columns.MergeFromString(
        _packed(_SCORES_FIELD, candidates.scores.astype("<f4", copy=False).tobytes())
        + _packed(_SOURCES_FIELD, candidates.sources.tobytes())
    )
    if ids is not None:
        columns.item_ids.extend(ids.ids(candidates.rows))
    response.history_rows.extend(history_rows.tolist())
    shortfall = candidates.shortfall
    if shortfall is not None:
        write_shortfall(response.shortfall, shortfall.missing_count, shortfall.reason)
    write_timings(response.timings, [("resolve", resolve_ms), *candidates.timings_ms.items()])
    return response


def _packed(field_number: int, payload: bytes) -> bytes:
    """A packed repeated field: tag, length as varint, payload."""
    length = len(payload)
    head = bytearray([field_number << 3 | 2])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + payload


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
