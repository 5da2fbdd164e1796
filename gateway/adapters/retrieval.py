"""The retrieval service as the pipeline sees it, where each replica holds the whole index."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.failures import raise_failure, raise_nobody
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
from gateway.engine.stage_times import StageTimes
from gateway.engine.stages import NO_QUOTAS, Retrieved
from twostage.errors import NotReady
from twostage.rpc.calls import Calls
from twostage.rpc.question import NoAnswer, Question
from twostage.rpc.replica import Replica
from twostage.v1 import retrieval_pb2_grpc

RetrievalCalls = Calls[retrieval_pb2_grpc.RetrievalServiceStub]
RetrievalReplica = Replica[retrieval_pb2_grpc.RetrievalServiceStub]


class RetrievalAdapter:
    """Asks replicas of the retrieval service.

    Implements :class:`gateway.engine.stages.Retrieval` and :class:`gateway.engine.stages.Similarity`.

    Args:
        calls: Whom to ask.
        chosen: Whom to ask first, the first time; chosen anew each time when unset.
        times: Where the calls' times are recorded; nowhere when None.
    """

    def __init__(
        self, calls: RetrievalCalls, chosen: RetrievalReplica | None = None, times: StageTimes | None = None
    ) -> None:
        self._calls = calls
        self._chosen = chosen
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
        start = time.perf_counter()
        response = self._ask(lambda stub: stub.Retrieve, message, generation, start, timeout_seconds)
        seconds = time.perf_counter() - start
        wait_ms = seconds * 1000
        if self._times is not None:
            self._times.retrieval.record(seconds)
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
        response = self._ask(lambda stub: stub.SimilarItems, message, generation, start, timeout_seconds)
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

    def _ask(
        self,
        method: Callable[[Any], Any],
        message: Any,
        generation: int,
        start: float,
        timeout_seconds: float,
    ) -> Any:
        # Asked again, e.g. for a trial, it may be somebody else's turn.
        first, self._chosen = self._chosen, None
        try:
            return self._calls.ask(Question(method, message, start + timeout_seconds, (generation,)), first)
        except NotReady as error:
            raise_nobody(STAGE, error, self._calls.replicas)
        except NoAnswer as failed:
            raise_failure(STAGE, failed.error, timeout_seconds, replica=failed.replica)
