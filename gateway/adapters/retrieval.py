"""The retrieval service as the pipeline sees it, where each replica holds the whole index."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import grpc
import numpy as np

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.failures import raise_failure
from gateway.adapters.messages import read_shortfall, read_timings
from gateway.adapters.retrieval_messages import (
    STAGE,
    check_columns,
    read_history_weights,
    retrieve_message,
    similar_message,
)
from gateway.engine.ladder import StageUnavailable
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.similar import SimilarRequest, SimilarRows
from gateway.engine.stages import Retrieved
from twostage.errors import NotReady
from twostage.rpc.channels import Replica
from twostage.v1 import retrieval_pb2_grpc

R = TypeVar("R")


Stub = retrieval_pb2_grpc.RetrievalServiceStub


class Picker(Protocol):
    """Says who is asked."""

    def pick(self, *, holding: Sequence[int]) -> Replica[Stub]:
        """Chooses a replica that holds one of these generations.

        Raises:
            NotReady: There is none.
        """


class Chosen(NamedTuple):
    """A replica that was chosen before."""

    replica: Replica[Stub]

    def pick(self, *, holding: Sequence[int]) -> Replica[Stub]:
        """The replica."""
        del holding
        return self.replica


class RetrievalAdapter:
    """Asks replicas of the retrieval service.

    Implements :class:`gateway.engine.stages.Retrieval` and :class:`gateway.engine.stages.Similarity`.

    Args:
        replicas: Whom to ask: all there are, or the one that was chosen.
    """

    def __init__(self, replicas: Picker) -> None:
        self._replicas = replicas

    def retrieve(
        self, request: RecommendRequest, person: Person, *, generation: int, count: int, timeout_seconds: float
    ) -> Retrieved[CandidateMessage]:
        """Finds candidates; see :meth:`Retrieval.retrieve`."""
        message = retrieve_message(request, person, generation=generation, count=count)
        start = time.perf_counter()
        response = self._ask(lambda stub: stub.Retrieve(message, timeout=timeout_seconds), generation, timeout_seconds)
        wait_ms = (time.perf_counter() - start) * 1000
        check_columns(response, response.candidates, generation)
        return Retrieved(
            candidates=CandidateMessage(response.candidates),
            shortfall=read_shortfall(response),
            timings=read_timings(STAGE, response.timings, wait_ms),
            history_weights=read_history_weights(response, person.history.rows) if request.explain else (),
        )

    def similar_items(self, request: SimilarRequest, *, generation: int, timeout_seconds: float) -> SimilarRows:
        """Finds the items nearest to one; see :meth:`Similarity.similar_items`."""
        message = similar_message(request, generation=generation)
        start = time.perf_counter()
        response = self._ask(
            lambda stub: stub.SimilarItems(message, timeout=timeout_seconds), generation, timeout_seconds
        )
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

    def _ask(self, call: Callable[[Stub], R], generation: int, timeout_seconds: float) -> R:
        try:
            replica = self._replicas.pick(holding=(generation,))
        except NotReady as error:
            raise StageUnavailable(STAGE, "no replica was found", detail=error.why) from error
        try:
            with replica:
                return call(replica.stub)
        except grpc.RpcError as error:
            raise_failure(STAGE, error, timeout_seconds, replica=replica)
