"""The retrieval service as the pipeline sees it, where each server holds one shard of the index.

Every shard is asked at once. Their lists are merged and blended by the code that a server with the whole index runs,
so the answer is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.retrieval import RetrievalCalls
from gateway.adapters.retrieval_messages import (
    STAGE,
    Q,
    Response,
    read_history_weights,
    retrieve_message,
    similar_message,
)
from gateway.adapters.shard_calls import Shards
from gateway.adapters.shard_lists import read_allowed_count, read_answers
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason, Timing
from gateway.engine.similar import SimilarRequest, SimilarRows
from gateway.engine.stage_times import StageTimes
from gateway.engine.stages import NO_QUOTAS, Retrieved
from twostage.bundle.generation import Generation
from twostage.candidates.blend import Blended, blend
from twostage.candidates.shards import complete, is_short, merge_answers
from twostage.candidates.source_list import SourceList
from twostage.v1 import retrieval_pb2


class ShardedRetrievalAdapter:
    """Asks all shards of an index and merges what they bring.

    Implements :class:`gateway.engine.stages.Retrieval` and :class:`gateway.engine.stages.Similarity`.

    Args:
        calls: Whom to ask for every shard, shard 0 first.
        generation: Whose rows are merged.
        times: Where the time of all shards together is recorded; nowhere when None.
    """

    def __init__(
        self, calls: Sequence[RetrievalCalls], generation: Generation, times: StageTimes | None = None
    ) -> None:
        self._shards = Shards(calls)
        self._item_count = generation.item_count
        self._times = times

    def retrieve(
        self,
        request: RecommendRequest,
        person: Person,
        *,
        generation: int,
        count: int,
        timeout_seconds: float,
        quotas: Mapping[str, int] = NO_QUOTAS,
        include_item_ids: Sequence[str] = (),
    ) -> Retrieved[CandidateMessage]:
        """Finds candidates; see :meth:`Retrieval.retrieve`."""
        message = retrieve_message(
            request, person, generation=generation, count=count, quotas=quotas, include_item_ids=include_item_ids
        )
        search = _Search(self._shards, self._item_count, generation, timeout_seconds)
        lists = search.lists(lambda stub: stub.Retrieve, message)
        if self._times is not None:
            self._times.retrieval.record(search.asking_seconds)
        blended = blend(
            lists,
            count,
            item_count=self._item_count,
            allowed_count=search.allowed_count,
            with_ranks=request.trace,
        )
        return Retrieved(
            CandidateMessage(_columns(blended)),
            _shortfall(blended),
            list(search.timings()),
            _history_weights(search.first_answer, person) if request.explain else (),
        )

    def similar_items(self, request: SimilarRequest, *, generation: int, timeout_seconds: float) -> SimilarRows:
        """Finds the items nearest to one; see :meth:`Similarity.similar_items`."""
        message = similar_message(request, generation=generation)
        search = _Search(self._shards, self._item_count, generation, timeout_seconds)
        lists = search.lists(lambda stub: stub.SimilarItems, message)
        # The item itself could not be found, whatever is asked.
        blended = blend(lists, request.count, item_count=self._item_count - 1, allowed_count=search.allowed_count)
        return SimilarRows(blended.rows, blended.scores, _shortfall(blended), list(search.timings()))


class _Search:
    """One question to all shards, in a second round too where the first found too few.

    Args:
        shards: Whom to ask.
        item_count: Of the generation.
        generation: Whose rows are asked for.
        timeout_seconds: How long all of it may take.

    Attributes:
        allowed_count: How many rows filter and exclusions leave; known once the lists are.
        first_answer: Shard 0's to the first round, which tells what every shard knows; known once the lists are.
    """

    def __init__(self, shards: Shards, item_count: int, generation: int, timeout_seconds: float) -> None:
        self._shards = shards
        self._item_count = item_count
        self._generation = generation
        self._started = time.perf_counter()
        self._deadline = self._started + timeout_seconds
        self._asking_ms = 0.0
        self._shard_ms = np.zeros(shards.count)
        self._slowest_ms = 0.0
        self.allowed_count = 0
        self.first_answer: Response | None = None

    @property
    def asking_seconds(self) -> float:
        """How long the shards were waited for."""
        return self._asking_ms / 1000

    def lists(self, method: Callable[[Any], Any], message: Q) -> list[SourceList]:
        """Asks, and merges the lists that came, ready to be blended.

        Args:
            method: Takes the method from a stub.
            message: The question, without what is asked of a shard.
        """
        answers = self._ask(method, message, exhaustive=False)
        self.first_answer = answers[0]
        self.allowed_count = read_allowed_count(answers)
        merged = merge_answers(read_answers(answers, self._item_count))
        if any(is_short(found, self.allowed_count) for found in merged):
            answers = self._ask(method, message, exhaustive=True)
            exhaustive = merge_answers(read_answers(answers, self._item_count))
            merged = complete(merged, exhaustive, self.allowed_count)
        return merged

    def timings(self) -> Iterator[Timing]:
        """The timing of the calls, which counts the slowest shard, then each shard's and that of the merge."""
        yield Timing(STAGE, self._slowest_ms, max(self._asking_ms - self._slowest_ms, 0.0))
        for index, milliseconds in enumerate(self._shard_ms.tolist()):
            yield Timing(f"{STAGE}.shard_{index}", milliseconds)
        yield Timing(f"{STAGE}.merge", (time.perf_counter() - self._started) * 1000 - self._asking_ms)

    def _ask(self, method: Callable[[Any], Any], message: Q, *, exhaustive: bool) -> list[Any]:
        before = time.perf_counter()
        answers = self._shards.ask(
            method, message, generation=self._generation, exhaustive=exhaustive, deadline=self._deadline
        )
        self._asking_ms += (time.perf_counter() - before) * 1000
        compute_ms = [sum(step.compute_ms + step.transport_ms for step in answer.timings) for answer in answers]
        self._shard_ms += compute_ms
        self._slowest_ms += max(compute_ms)
        return answers


def _history_weights(answer: Response | None, person: Person) -> Sequence[float]:
    if isinstance(answer, retrieval_pb2.RetrieveResponse):
        return read_history_weights(answer, person.history.rows)
    return ()


def _columns(blended: Blended) -> retrieval_pb2.CandidateColumns:
    """Candidates in the message in which a server with the whole index gives them."""
    return retrieval_pb2.CandidateColumns(
        rows=blended.rows.tolist(),
        scores=blended.scores.tolist(),
        sources=blended.sources.tolist(),
        source_ranks=[
            retrieval_pb2.SourceRanks(source=f"SOURCE_{source.name}", ranks=ranks.tolist())
            for source, ranks in blended.source_ranks.items()
        ],
    )


def _shortfall(blended: Blended) -> Shortfall | None:
    found = blended.shortfall
    return None if found is None else Shortfall(found.missing_count, ShortfallReason[found.reason.name])
