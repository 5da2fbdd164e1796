"""What is asked of the retrieval service, whole or a shard of it, and whether an answer can be true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from gateway.adapters.candidates import source_number
from gateway.adapters.messages import filter_message, history_message
from gateway.engine.ladder import StageUnavailable
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.similar import SimilarRequest
from gateway.engine.stages import NO_QUOTAS
from twostage.v1 import retrieval_pb2

STAGE = "retrieval"

# As many as retrieval takes.
_MAX_INCLUDED_COUNT = 200

Q = TypeVar("Q", retrieval_pb2.RetrieveRequest, retrieval_pb2.RetrievalServiceSimilarItemsRequest)
"""A question of either method."""

Response = retrieval_pb2.RetrieveResponse | retrieval_pb2.RetrievalServiceSimilarItemsResponse
"""An answer of either method."""


def retrieve_message(
    request: RecommendRequest,
    person: Person,
    *,
    generation: int,
    count: int,
    quotas: Mapping[str, int] = NO_QUOTAS,
    include_item_ids: Sequence[str] = (),
) -> retrieval_pb2.RetrieveRequest:
    """Asks for a person's candidates; see :meth:`gateway.engine.stages.Retrieval.retrieve`."""
    message = retrieval_pb2.RetrieveRequest(
        generation=generation,
        history=history_message(person.history),
        interest_tags=request.interest_tags,
        exclude_rows=person.excluded_rows,
        count=count,
        return_source_ranks=request.trace,
    )
    if request.filter:
        message.filter.CopyFrom(filter_message(request.filter))
    if request.pinned_item_ids or include_item_ids:
        # Where they are more than retrieval takes the last pins stay behind.
        message.include_item_ids.extend([*include_item_ids, *request.pinned_item_ids][:_MAX_INCLUDED_COUNT])
    for name, max_count in quotas.items():
        source = source_number(name)
        if source is not None:
            message.quotas.add(source=source, max_count=max_count)
    if request.explain:
        message.return_history_weights = True
    return message


def similar_message(request: SimilarRequest, *, generation: int) -> retrieval_pb2.RetrievalServiceSimilarItemsRequest:
    """Asks for the items nearest to one."""
    message = retrieval_pb2.RetrievalServiceSimilarItemsRequest(
        generation=generation,
        item_id=request.item_id,
        count=request.count,
        exclude_item_ids=request.exclude_item_ids,
    )
    if request.filter:
        message.filter.CopyFrom(filter_message(request.filter))
    return message


def check_columns(response: Response, columns: retrieval_pb2.CandidateColumns, generation: int) -> None:
    """Refuses an answer that cannot be true.

    Raises:
        StageUnavailable: It is of another generation, covers a part of the catalogue only, or its columns differ in
            length.
    """
    row_count = len(columns.rows)
    if response.generation != generation or not row_count == len(columns.scores) == len(columns.sources):
        raise StageUnavailable(
            STAGE,
            f"expected columns of one length of generation {generation}, received {row_count} rows, "
            f"{len(columns.scores)} scores, {len(columns.sources)} sources of {response.generation}",
        )
    if response.answered_shard.count > 1:
        shard = response.answered_shard
        raise StageUnavailable(
            STAGE, f"expected an answer from all rows, received one of shard {shard.index} of {shard.count}"
        )
    for ranks in columns.source_ranks:
        if len(ranks.ranks) != row_count:
            raise StageUnavailable(STAGE, f"expected {row_count} ranks by source, received {len(ranks.ranks)}")


def read_history_weights(response: retrieval_pb2.RetrieveResponse, rows: Sequence[int]) -> Sequence[float]:
    """What each entry of a history did for the user vector, as ranking takes it: one weight for each row sent.

    Args:
        response: An answer; it lists the rows that it knows, in the order in which they were sent.
        rows: The history as it was sent.

    Returns:
        0 for an entry that the answer leaves out; nothing at all when weights are not told or cannot be matched.
    """
    told = list(zip(response.history_rows, response.history_weights, strict=False))
    if not told or len(response.history_rows) != len(response.history_weights):
        return ()
    weights: list[float] = []
    position = 0
    for row in rows:
        matches = position < len(told) and told[position][0] == row
        weights.append(told[position][1] if matches else 0.0)
        position += matches
    return weights if position == len(told) else ()
