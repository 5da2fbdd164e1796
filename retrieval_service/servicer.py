"""The gRPC face of the engine."""

# ruff: noqa: ARG002 - gRPC passes every method a request and a context, read or not

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version

import grpc

from retrieval_service.convert import query_of, response_of
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.metrics import RetrievalMetrics
from twostage.bundle.generation import Generation
from twostage.errors import GenerationNotLoaded, NotReady
from twostage.messages.status import StatusWriter
from twostage.rpc import request_event
from twostage.rpc.metrics import package_version
from twostage.v1 import retrieval_pb2, retrieval_pb2_grpc

_LIBRARIES = ("ai-edge-litert", "faiss-cpu", "grpcio", "numpy")


@dataclass(frozen=True)
class Held:
    """A generation that can be asked."""

    generation: Generation
    engine: RetrievalEngine


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Answers for the generation it was given; until then it has none.

    Args:
        metrics: Counted for every answer.
    """

    def __init__(self, metrics: RetrievalMetrics) -> None:
        self._metrics = metrics
        self._held: Held | None = None
        # Read once: finding a package's metadata takes longer than a search.
        self._status = StatusWriter("retrieval", package_version(), {name: version(name) for name in _LIBRARIES})

    def hold(self, held: Held) -> None:
        """Answers for this generation from now on."""
        self._held = held

    def Retrieve(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrieveRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.RetrieveResponse:
        """Finds exactly `count` candidates or says why not."""
        started = time.perf_counter()
        held = self._held
        if held is None:
            raise NotReady("no generation is loaded")
        number = held.generation.number
        if request.generation not in (0, number):
            raise GenerationNotLoaded(request.generation, [number])
        ids = held.generation.ids
        query = query_of(request, ids)
        resolved = time.perf_counter()
        candidates = held.engine.retrieve(query)
        self._metrics.count(candidates)
        request_event.attach(
            generation=number,
            candidate_count=len(candidates.rows),
            missing_count=query.count - len(candidates.rows),
            search_ms=candidates.timings_ms["search"],
        )
        return response_of(
            candidates,
            generation=number,
            history_rows=query.history.rows,
            ids=ids if request.return_item_ids else None,
            resolve_ms=(resolved - started) * 1e3,
        )

    def GetStatus(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrievalServiceGetStatusRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.RetrievalServiceGetStatusResponse:
        """Tells what this replica holds; answered while loading too."""
        held = self._held
        return retrieval_pb2.RetrievalServiceGetStatusResponse(
            status=self._status.write(held.generation if held is not None else None)
        )
