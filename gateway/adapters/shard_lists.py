"""What shards brought, read from their answers; what cannot be true is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.adapters.retrieval_messages import STAGE, Response
from gateway.engine.ladder import StageUnavailable
from twostage.candidates.source import SEARCHING, Source
from twostage.candidates.source_list import SourceList
from twostage.v1 import retrieval_pb2

_SOURCES = {value: Source(1 << value - 1) for value in retrieval_pb2.Source.values() if value > 0}
# Interest tags search only where the bundle has vectors of tags; their keys tell.
_ALWAYS_SEARCHING = SEARCHING & ~Source.INTEREST_TAGS

_Name = tuple[Source, int]
_How = tuple[bool, bool, int]
"""Whether a list has keys, whether codes took part, and how many rows they let through."""


def read_answers(answers: Sequence[Response], item_count: int) -> list[list[SourceList]]:
    """The lists of every shard, in the shards' order.

    Args:
        answers: Of every shard to one question.
        item_count: Rows must be below it.

    Raises:
        StageUnavailable: An answer cannot be true, or they do not belong together.
    """
    by_shard = [[_read_list(message, item_count) for message in answer.lists] for answer in answers]
    searches = {
        (found.source, found.group): found.wanted_count
        for lists in by_shard
        for found in lists
        if found.keys is not None or found.source & _ALWAYS_SEARCHING
    }
    for index, lists in enumerate(by_shard):
        brought = {(found.source, found.group): found.wanted_count for found in lists}
        if len(brought) < len(lists):
            raise _untrue(f"shard {index} brought two lists of one source and group")
        # What a shard leaves out would be missing from the answer, and nobody would know.
        if any(brought.get(name) != wanted_count for name, wanted_count in searches.items()):
            raise _untrue(f"shard {index} did not search for what the others searched for")
    made: dict[_Name, _How] = {}
    for index, lists in enumerate(by_shard):
        for found in lists:
            how = (found.keys is not None, found.code_keys is not None, found.pool_count)
            # An empty list does not tell how it was made.
            if len(found.rows) and made.setdefault((found.source, found.group), how) != how:
                raise _untrue(f"shard {index} found the rows of {found.source.name} in another way than the others")
    return by_shard


def read_allowed_count(answers: Sequence[Response]) -> int:
    """How many rows filter and exclusions leave in the whole catalogue, of which every shard must say the same.

    Raises:
        StageUnavailable: They do not.
    """
    counts = {answer.allowed_count for answer in answers}
    if len(counts) > 1:
        raise _untrue(f"filter and exclusions leave {' or '.join(map(str, sorted(counts)))} rows")
    return counts.pop()


def _read_list(message: retrieval_pb2.SourceList, item_count: int) -> SourceList:
    source = _SOURCES.get(message.source)
    if source is None:
        raise _untrue(f"a list of source {message.source}, which this gateway does not know")
    # Cut out as a list first: iterating over the field itself goes number by number.
    rows = np.array(message.rows[:], np.uint32)
    if len(rows) and int(rows.max()) >= item_count:
        raise _untrue(f"row {int(rows.max())} of {source.name}, of {item_count} items")
    scores, keys, code_keys = _floats(message.scores), _floats(message.keys), _floats(message.code_keys)
    if len(scores) != len(rows) or any(len(column) not in (0, len(rows)) for column in (keys, code_keys)):
        raise _untrue(f"columns of {source.name} differ in length")
    return SourceList(
        source=source,
        rows=rows,
        scores=scores,
        wanted_count=message.wanted_count,
        keys=keys if len(keys) else None,
        code_keys=code_keys if len(code_keys) else None,
        pool_count=message.pool_count,
        group=message.group,
    )


def _floats(numbers: Sequence[float]) -> NDArray[np.float32]:
    return np.array(numbers[:], np.float32)


def _untrue(what: str) -> StageUnavailable:
    return StageUnavailable(STAGE, f"the shards' answers cannot be true: {what}")
