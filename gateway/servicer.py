"""The gateway's methods: messages in, messages out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import grpc

from gateway.access.explaining import Explaining
from gateway.adapters.candidates import CandidateMessage
from gateway.convert import (
    read_recommend_request,
    read_similar_request,
    write_recommend_response,
    write_similar_response,
)
from gateway.engine.answer_cache import AnswerCache
from gateway.engine.budget import Budget, BudgetPolicy
from gateway.engine.catalogue import Catalogue
from gateway.engine.response import Timing
from gateway.events import EventReader, write_record_response
from gateway.explain import Explainer
from gateway.explain_messages import naming_inner_fields, read_question, write_why
from gateway.impressions.event_log import EventLog
from gateway.observer import Observer
from gateway.people import People
from gateway.pipeline import Pipeline
from gateway.similar_items import SimilarItems
from gateway.status import AskedStage, gateway_status, stage_statuses
from gateway.users.store import UserStore, UserStoreUnavailable
from twostage.errors import NotReady
from twostage.generations.keeper import Keeper
from twostage.rpc import request_event
from twostage.rpc.deadlines import remaining_seconds
from twostage.v1 import gateway_pb2, gateway_pb2_grpc


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long requests may take, in seconds.

    Args:
        default: What a caller that sets no deadline is taken to wait.
        longest: Callers who wait longer are answered within this.
        status: How long a stage may take to tell its status.
        policy: How a request's time is split.
    """

    default: float = 1.0
    longest: float = 2.0
    status: float = 0.5
    policy: BudgetPolicy = field(default_factory=BudgetPolicy)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What requests are answered from.

    Args:
        pipeline: Answers Recommend.
        similar: Answers SimilarItems.
        users: Takes events.
        explainer: Answers Explain.
        answers: What was answered lately.
        event_log: Told of events that were stored; None when they are not logged.
    """

    pipeline: Pipeline[CandidateMessage]
    similar: SimilarItems
    users: UserStore
    explainer: Explainer[CandidateMessage]
    answers: AnswerCache = field(default_factory=AnswerCache)
    event_log: EventLog | None = None


class GatewayServicer(gateway_pb2_grpc.RecommendationServiceServicer):
    """Answers for people; empty-handed until ``loaded`` is set, and the server refuses requests until then.

    Args:
        stages: Whose status is told beside the gateway's own.
        keeper: Holds the gateway's generations.
        deadlines: How long requests may take.
        observer: Told of events.
        explaining: Who may ask for explanations and traces; everybody by default.

    Attributes:
        loaded: What requests are answered from.
    """

    def __init__(
        self,
        stages: Sequence[AskedStage],
        keeper: Keeper[Catalogue],
        deadlines: Deadlines,
        observer: Observer,
        explaining: Explaining = Explaining(),  # noqa: B008 - frozen
    ) -> None:
        self._explaining = explaining
        self.loaded: Loaded | None = None
        self._stages = stages
        self._keeper = keeper
        self._deadlines = deadlines
        self._observer = observer
        self._status = gateway_status()

    def Recommend(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        """Recommends items to a person."""
        if request.explain or request.trace:
            self._explaining.require()
        pipeline = self._require_loaded().pipeline
        budget = self._budget(context)
        response = pipeline.recommend(read_recommend_request(request, time.time), budget)
        request_event.attach(
            generation=response.generation,
            request_id=response.request_id,
            recommendation_count=len(response.recommendations),
            **_milliseconds(response.timings),
        )
        return write_recommend_response(response)

    def Explain(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.ExplainRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.ExplainResponse:
        """Why an item is where it is in an answer, or which stage and rule lost it."""
        self._explaining.require()
        explainer = self._require_loaded().explainer
        budget = self._budget(context)
        question = read_question(request, time.time)
        with naming_inner_fields():
            why = explainer.explain(question, budget)
        request_event.attach(generation=why.generation, request_id=why.request_id, outcome=why.outcome.name)
        return write_why(why)

    def SimilarItems(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendationServiceSimilarItemsRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendationServiceSimilarItemsResponse:
        """Finds items that are like one."""
        similar = self._require_loaded().similar
        budget = self._budget(context)
        response = similar.find(read_similar_request(request), budget)
        request_event.attach(
            generation=response.generation,
            request_id=response.request_id,
            item_count=len(response.items),
            **_milliseconds(response.timings),
        )
        return write_similar_response(response)

    def RecordEvents(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecordEventsRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecordEventsResponse:
        """Records what people did."""
        del context
        loaded = self._require_loaded()
        events, rejections = EventReader(self._keeper.all).read(request.events, time.time)
        if events:
            start = time.perf_counter()
            try:
                loaded.users.record(events)
            except UserStoreUnavailable as error:
                # All or none were stored; events are idempotent, so the caller may simply send them again.
                raise NotReady("the user store cannot be written, send the events again", detail=str(error)) from error
            finally:
                self._observer.user_recorded(time.perf_counter() - start)
        if loaded.event_log is not None:
            loaded.event_log.note(events)
        self._observer.events_recorded(len(events), len(rejections))
        return write_record_response(len(events), rejections)

    def GetUser(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.GetUserRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.GetUserResponse:
        """What is stored about a person."""
        del context
        return self._people().get(request)

    def DeleteUser(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.DeleteUserRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.DeleteUserResponse:
        """Removes a person and everything they did."""
        del context
        return self._people().delete(request)

    def GetStatus(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendationServiceGetStatusRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendationServiceGetStatusResponse:
        """What the gateway and the stages behind it hold."""
        del request, context
        return gateway_pb2.RecommendationServiceGetStatusResponse(
            status=self._status.write(
                self._keeper.all if self.loaded is not None else (),
                self._keeper.waiting_for,
                refused=self._keeper.refused,
                preparing=self._keeper.preparing,
            ),
            stages=stage_statuses(self._stages, self._deadlines.status),
        )

    def _people(self) -> People:
        loaded = self._require_loaded()
        return People(loaded.users, loaded.answers.forget)

    def _require_loaded(self) -> Loaded:
        if self.loaded is None:
            raise NotReady("loading")
        return self.loaded

    def _budget(self, context: grpc.ServicerContext) -> Budget:
        deadlines = self._deadlines
        # Below the least that the answer itself needs there is no point in starting.
        seconds = remaining_seconds(
            context, deadlines.default, least=deadlines.policy.answer_least_seconds, during="before the request began"
        )
        return Budget(min(seconds, deadlines.longest), deadlines.policy)


def _milliseconds(timings: Iterable[Timing]) -> dict[str, float]:
    return {f"{timing.stage.replace('.', '_')}_ms": round(timing.compute_ms, 3) for timing in timings}
