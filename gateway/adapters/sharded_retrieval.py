"""The retrieval service as the pipeline sees it, where each server holds one shard of the index.

Every shard is asked at once. Their lists are merged and blended by the code that a server with the whole index runs,
so the answer is the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.retrieval_messages import (
    STAGE,
    Q,
    Response,
    read_history_weights,
    retrieve_message,
    similar_message,
)
from gateway.adapters.shard_calls import Begin, R_co, Shards
from gateway.adapters.shard_lists import read_allowed_count, read_answers
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason, Timing
from gateway.engine.similar import SimilarRequest, SimilarRows
from gateway.engine.stages import Retrieved
from twostage.bundle.generation import Generation
from twostage.candidates.blend import Blended, blend
from twostage.candidates.shards import complete, is_short, merge_answers
from twostage.candidates.source_list import SourceList
from twostage.rpc.channels import Replicas
from twostage.v1 import retrieval_pb2, retrieval_pb2_grpc


class ShardedRetrievalAdapter:
    """Asks all shards of an index and merges what they bring.

    Implements :class:`gateway.engine.stages.Retrieval` and :class:`gateway.engine.stages.Similarity`.

    Args:
        replicas: Of every shard, shard 0 first.
        generation: Whose rows are merged.
    """

    def __init__(
        self, replicas: Sequence[Replicas[retrieval_pb2_grpc.RetrievalServiceStub]], generation: Generation
    ) -> None:
        self._shards = Shards(replicas)
        self._item_count = generation.item_count

    def retrieve(
        self, request: RecommendRequest, person: Person, *, generation: int, count: int, timeout_seconds: float
    ) -> Retrieved[CandidateMessage]:
        """Finds candidates; see :meth:`Retrieval.retrieve`."""
        message = retrieve_message(request, person, generation=generation, count=count)
        search = _Search(self._shards, self._item_count, generation, timeout_seconds)
        lists = search.lists(lambda stub, asked, seconds: stub.Retrieve.future(_of_shard(message, asked), seconds))
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
        lists = search.lists(lambda stub, asked, seconds: stub.SimilarItems.future(_of_shard(message, asked), seconds))
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

    def lists(self, begin: Begin[R_co]) -> list[SourceList]:
        """Asks, and merges the lists that came, ready to be blended."""
        answers = self._ask(begin, exhaustive=False)
        self.first_answer = answers[0]
        self.allowed_count = read_allowed_count(answers)
        merged = merge_answers(read_answers(answers, self._item_count))
        if any(is_short(found, self.allowed_count) for found in merged):
            answers = self._ask(begin, exhaustive=True)
            exhaustive = merge_answers(read_answers(answers, self._item_count))
            merged = complete(merged, exhaustive, self.allowed_count)
        return merged

    def timings(self) -> Iterator[Timing]:
        """The timing of the calls, which counts the slowest shard, then each shard's and that of the merge."""
        yield Timing(STAGE, self._slowest_ms, max(self._asking_ms - self._slowest_ms, 0.0))
        for index, milliseconds in enumerate(self._shard_ms.tolist()):
            yield Timing(f"{STAGE}.shard_{index}", milliseconds)
        yield Timing(f"{STAGE}.merge", (time.perf_counter() - self._started) * 1000 - self._asking_ms)

    def _ask(self, begin: Begin[R_co], *, exhaustive: bool) -> list[R_co]:
        before = time.perf_counter()
        answers = self._shards.ask(begin, generation=self._generation, exhaustive=exhaustive, deadline=self._deadline)
        self._asking_ms += (time.perf_counter() - before) * 1000
        compute_ms = [sum(step.compute_ms + step.transport_ms for step in answer.timings) for answer in answers]
        self._shard_ms += compute_ms
        self._slowest_ms += max(compute_ms)
        return answers


def _of_shard(message: Q, asked: retrieval_pb2.ShardRequest) -> Q:
    """The question as one shard gets it; it is serialized before the next one is asked."""
    message.shard.CopyFrom(asked)
    return message


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
