"""The retrieval service as the pipeline sees it, where each replica holds the whole index."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import grpc
import numpy as np

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.failures import raise_failure
from gateway.adapters.messages import read_shortfall, read_timings
from gateway.adapters.retrieval_messages import STAGE, check_columns, retrieve_message, similar_message
from gateway.engine.ladder import StageUnavailable
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.similar import SimilarRequest, SimilarRows
from gateway.engine.stages import Retrieved
from twostage.errors import NotReady
from twostage.rpc.channels import Replicas
from twostage.v1 import retrieval_pb2_grpc

R = TypeVar("R")


class RetrievalAdapter:
    """Asks replicas of the retrieval service.

    Implements :class:`gateway.engine.stages.Retrieval` and :class:`gateway.engine.stages.Similarity`.

    Args:
        replicas: Whom to ask.
    """

    def __init__(self, replicas: Replicas[retrieval_pb2_grpc.RetrievalServiceStub]) -> None:
        self._replicas = replicas

    def retrieve(
        self, request: RecommendRequest, person: Person, *, generation: int, count: int, timeout_seconds: float
    ) -> Retrieved[CandidateMessage]:
        """Finds candidates; see :meth:`Retrieval.retrieve`."""
        message = retrieve_message(request, person, generation=generation, count=count)
        start = time.perf_counter()
        response = self._ask(lambda stub: stub.Retrieve(message, timeout=timeout_seconds), timeout_seconds)
        wait_ms = (time.perf_counter() - start) * 1000
        check_columns(response, response.candidates, generation)
        return Retrieved(
            candidates=CandidateMessage(response.candidates),
            shortfall=read_shortfall(response),
            timings=read_timings(STAGE, response.timings, wait_ms),
        )

    def similar_items(self, request: SimilarRequest, *, generation: int, timeout_seconds: float) -> SimilarRows:
        """Finds the items nearest to one; see :meth:`Similarity.similar_items`."""
        message = similar_message(request, generation=generation)
        start = time.perf_counter()
        response = self._ask(lambda stub: stub.SimilarItems(message, timeout=timeout_seconds), timeout_seconds)
        wait_ms = (time.perf_counter() - start) * 1000
        check_columns(response, response.items, generation)
        found_count = len(response.items.rows)
        if found_count + response.shortfall.missing_count != request.count:
            raise StageUnavailable(
                STAGE,
                f"expected {request.count} items, found or missing, received {found_count} and "
                f"{response.shortfall.missing_count} missing",
            )
        return SimilarRows(
            rows=np.array(response.items.rows, np.uint32),
            scores=np.array(response.items.scores, np.float32),
            shortfall=read_shortfall(response),
            timings=read_timings(STAGE, response.timings, wait_ms),
        )

    def _ask(self, call: Callable[[retrieval_pb2_grpc.RetrievalServiceStub], R], timeout_seconds: float) -> R:
        try:
            with self._replicas.pick() as replica:
                return call(replica.stub)
        except grpc.RpcError as error:
            raise_failure(STAGE, error, timeout_seconds)
        except NotReady as error:
            raise StageUnavailable(STAGE, "no replica was found", detail=error.why) from error
