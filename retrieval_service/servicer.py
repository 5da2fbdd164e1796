"""The gRPC face of the engine."""

# ruff: noqa: ARG002 - gRPC passes every method a request and a context, read or not

from __future__ import annotations

import time
from importlib.metadata import version

import grpc

from retrieval_service.convert import query_of, response_of, similar_query_of, similar_response_of, write_gathered
from retrieval_service.engine.query import Candidates, Gathered
from retrieval_service.held import Held
from retrieval_service.metrics import RetrievalMetrics
from twostage.generations.keeper import Keeper
from twostage.messages.status import StatusWriter
from twostage.rpc import request_event
from twostage.rpc.metrics import package_version
from twostage.rpc.tracing import current
from twostage.v1 import retrieval_pb2, retrieval_pb2_grpc

_LIBRARIES = ("ai-edge-litert", "faiss-cpu", "grpcio", "numpy")


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Answers for the generations that are held; until there is one, none.

    Args:
        keeper: Holds them.
        metrics: Counted for every answer.
    """

    def __init__(self, keeper: Keeper[Held], metrics: RetrievalMetrics) -> None:
        self._keeper = keeper
        self._metrics = metrics
        # Read once: finding a package's metadata takes longer than a search.
        self._status = StatusWriter("retrieval", package_version(), {name: version(name) for name in _LIBRARIES})

    def Retrieve(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrieveRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.RetrieveResponse:
        """Finds exactly `count` candidates or says why not; a gateway that merges shards gets what sources brought."""
        started = time.perf_counter()
        held = self._keeper.held(request.generation)
        ids = held.generation.ids
        number = held.number
        query = query_of(request, ids)
        resolve_ms = (time.perf_counter() - started) * 1e3
        began = time.perf_counter()
        if request.HasField("shard"):
            asked = request.shard
            gathered = held.engine.gather(query, shared=asked.with_shared_sources, exhaustive=asked.exhaustive)
            current.steps(began, gathered.timings_ms)
            self._metrics.took(resolve_ms, gathered.timings_ms)
            response = retrieval_pb2.RetrieveResponse(generation=number, history_rows=query.history.rows.tolist())
            write_gathered(response, gathered, held.engine.shard, resolve_ms)
            _attach_gathered(number, gathered)
            return response
        candidates = held.engine.retrieve(query)
        current.steps(began, candidates.timings_ms)
        self._metrics.took(resolve_ms, candidates.timings_ms)
        self._count(number, candidates, query.count)
        return response_of(
            candidates,
            generation=number,
            history_rows=query.history.rows,
            ids=ids if request.return_item_ids else None,
            resolve_ms=resolve_ms,
        )

    def SimilarItems(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrievalServiceSimilarItemsRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.RetrievalServiceSimilarItemsResponse:
        """Finds the items that are nearest to one, exactly `count` or says why not."""
        started = time.perf_counter()
        held = self._keeper.held(request.generation)
        ids = held.generation.ids
        number = held.number
        query = similar_query_of(request, ids)
        resolve_ms = (time.perf_counter() - started) * 1e3
        if request.HasField("shard"):
            gathered = held.engine.gather_similar(query, exhaustive=request.shard.exhaustive)
            response = retrieval_pb2.RetrievalServiceSimilarItemsResponse(generation=number)
            write_gathered(response, gathered, held.engine.shard, resolve_ms)
            _attach_gathered(number, gathered)
            return response
        candidates = held.engine.similar(query)
        self._count(number, candidates, query.count)
        return similar_response_of(candidates, generation=number, resolve_ms=resolve_ms)

    def GetStatus(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrievalServiceGetStatusRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.RetrievalServiceGetStatusResponse:
        """Tells what this replica holds; answered while loading too."""
        keeper = self._keeper
        return retrieval_pb2.RetrievalServiceGetStatusResponse(
            status=self._status.write(
                keeper.all, keeper.waiting_for, refused=keeper.refused, preparing=keeper.preparing
            )
        )

    def _count(self, generation: int, candidates: Candidates, count: int) -> None:
        self._metrics.count(candidates)
        request_event.attach(
            generation=generation,
            candidate_count=len(candidates.rows),
            missing_count=count - len(candidates.rows),
            search_ms=candidates.timings_ms["search"],
        )


def _attach_gathered(generation: int, gathered: Gathered) -> None:
    request_event.attach(
        generation=generation,
        list_count=len(gathered.lists),
        listed_row_count=sum(len(entry.rows) for entry in gathered.lists),
        search_ms=gathered.timings_ms["search"],
    )
