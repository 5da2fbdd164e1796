"""The gRPC edge of the ranking service."""

from __future__ import annotations

from time import perf_counter

import grpc
import numpy as np

from ranking_service.convert import to_query, to_response
from ranking_service.engine.errors import RankingError
from ranking_service.held import Held
from ranking_service.metrics import RankingMetrics
from twostage.errors import NotReady
from twostage.generations.keeper import Keeper
from twostage.messages.status import StatusWriter
from twostage.rpc import request_event
from twostage.rpc.deadlines import remaining_seconds
from twostage.rpc.metrics import package_version
from twostage.rpc.tracing import current
from twostage.v1 import ranking_pb2, ranking_pb2_grpc

SERVICE = "ranking"
SERVICE_NAME = "twostage.v1.RankingService"


class RankingServicer(ranking_pb2_grpc.RankingServiceServicer):
    """Answers Rank and GetStatus.

    Args:
        keeper: Holds the generations; requests are refused until it holds one.
        default_timeout_seconds: How long a request may take whose caller set no deadline.
        margin_seconds: What of the caller's time is kept for the way back.
        metrics: Counted for every answer; nothing is when None.
    """

    def __init__(
        self,
        keeper: Keeper[Held],
        default_timeout_seconds: float,
        margin_seconds: float,
        metrics: RankingMetrics | None = None,
    ) -> None:
        self._keeper = keeper
        self._metrics = metrics
        self._default_timeout_seconds = default_timeout_seconds
        self._margin_seconds = margin_seconds
        libraries = {"numpy": np.__version__, "grpcio": grpc.__version__}
        self._status = StatusWriter(SERVICE, package_version(), libraries)

    def Rank(self, request: ranking_pb2.RankRequest, context: grpc.ServicerContext) -> ranking_pb2.RankResponse:  # noqa: N802
        """Answers exactly ``count`` items or says why not.

        Raises:
            TwostageError: The interceptor turns it into a status.
        """
        start = perf_counter()
        if not self._keeper.all:
            raise NotReady("loading", detail=self._keeper.waiting_for)
        held = self._keeper.held(request.generation)
        engine, scorer = held.engine, held.scorer
        query = to_query(request, engine.rows_of, engine.action_codes)
        left = remaining_seconds(
            context, self._default_timeout_seconds, least=self._margin_seconds, during="before ranking"
        )
        began = perf_counter()
        try:
            ranked = engine.rank(query, scorer, left - self._margin_seconds)
        except RankingError as error:
            # The fault is the model's, not the caller's; another replica or a lower rung may do better.
            raise NotReady(str(error)) from error
        # The model server's step is a call, which has a span of its own.
        current.steps(began, ranked.timings_ms, without="model_server")
        if self._metrics is not None:
            self._metrics.ranked(ranked.ranker, len(query.candidate_rows), ranked.timings_ms)
        request_event.attach(
            generation=engine.number,
            candidate_count=len(query.candidate_rows),
            history_count=len(query.history),
            item_count=len(ranked),
            **{f"{stage}_ms": round(ms, 3) for stage, ms in ranked.timings_ms.items()},
        )
        if ranked.effects_missing:
            request_event.attach(effects_missing=ranked.effects_missing)
        response = to_response(engine.number, ranked)
        # The whole of it beside the steps, so that the caller can tell its own wait from the work.
        response.timings.add(stage=SERVICE, compute_ms=1e3 * (perf_counter() - start))
        return response

    def GetStatus(  # noqa: N802
        self, request: ranking_pb2.RankingServiceGetStatusRequest, context: grpc.ServicerContext
    ) -> ranking_pb2.RankingServiceGetStatusResponse:
        """What this replica holds; answered while it loads, too."""
        del request, context
        keeper = self._keeper
        return ranking_pb2.RankingServiceGetStatusResponse(
            status=self._status.write(
                keeper.all, keeper.waiting_for, refused=keeper.refused, preparing=keeper.preparing
            )
        )
