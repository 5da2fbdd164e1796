"""The ranking service as the pipeline sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.failures import raise_failure, raise_nobody
from gateway.adapters.messages import context_message, diversity_message, history_message, read_timings
from gateway.engine.ladder import StageUnavailable
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation
from gateway.engine.stage_times import StageTimes
from gateway.engine.stages import Ranked, RankedItem
from twostage.errors import NotReady
from twostage.rpc.calls import Calls
from twostage.rpc.question import NoAnswer, Question, status_of
from twostage.v1 import ranking_pb2, ranking_pb2_grpc

RankingCalls = Calls[ranking_pb2_grpc.RankingServiceStub]

STAGE = "ranking"

_RANK: Callable[[Any], Any] = lambda stub: stub.Rank  # noqa: E731 - a function would say no more
_NOTHING: Mapping[str, str] = {}


class RankingAdapter:
    """Asks replicas of the ranking service; implements :class:`gateway.engine.stages.Ranking`.

    Args:
        calls: Whom to ask.
        times: Where the calls' times are recorded; nowhere when None.
    """

    def __init__(self, calls: RankingCalls, times: StageTimes | None = None) -> None:
        self._calls = calls
        self._times = times

    def rank(
        self,
        request: RecommendRequest,
        person: Person,
        candidates: CandidateMessage,
        *,
        generation: int,
        timeout_seconds: float,
        history_weights: Sequence[float] = (),
        pinned_rows: Sequence[int] = (),
    ) -> Ranked:
        """Selects the best candidates; see :meth:`Ranking.rank`."""
        message = ranking_pb2.RankRequest(
            generation=generation,
            history=history_message(person.history),
            context=context_message(request.context),
            # Copied by the protobuf runtime, column by column; no number passes through Python.
            candidates=candidates.message,
            count=request.count,
            attributes=request.attributes,
            explain=request.explain,
            trace=request.trace,
        )
        if request.diversity.strength > 0 or request.diversity.caps:
            message.selection.diversity.CopyFrom(diversity_message(request.diversity))
        if pinned_rows:
            message.selection.pinned_rows.extend(pinned_rows)
        if request.ranker:
            message.ranker = request.ranker
        if request.blend:
            message.blend.update(request.blend)
        if history_weights:
            message.history_weights.extend(history_weights)
        candidate_count = len(candidates)
        response, seconds = self._ask(message, candidate_count, timeout_seconds)
        if response.generation != generation:
            raise StageUnavailable(
                STAGE, f"expected an answer of generation {generation}, received {response.generation}"
            )
        if request.ranker and response.ranker != request.ranker:
            raise StageUnavailable(
                STAGE, f"expected an answer of ranker {request.ranker}, received one of {response.ranker or 'no name'}"
            )
        try:
            items = _ranked_items(request, response)
        except ValueError as error:
            why = f"expected one score for each of {len(response.actions)} actions an item"
            raise StageUnavailable(STAGE, why) from error
        if any(not 0 <= item.candidate_index < candidate_count for item in items):
            raise StageUnavailable(STAGE, "expected items among the candidates, received others")
        return Ranked(
            items=items, timings=read_timings(STAGE, response.timings, seconds * 1000), ranker=response.ranker
        )

    def _ask(
        self, message: ranking_pb2.RankRequest, candidate_count: int, timeout_seconds: float
    ) -> tuple[ranking_pb2.RankResponse, float]:
        """Asks, and tells how long it took."""
        start = time.perf_counter()
        try:
            response = self._calls.ask(Question(_RANK, message, start + timeout_seconds, (message.generation,)))
        except NotReady as error:
            raise_nobody(STAGE, error, self._calls.replicas)
        except NoAnswer as failed:
            if self._times is not None and status_of(failed.error) is grpc.StatusCode.DEADLINE_EXCEEDED:
                waited = time.perf_counter() - start
                self._times.ranking_by_count.record(candidate_count, waited, answered=False)
            raise_failure(STAGE, failed.error, timeout_seconds, replica=failed.replica)
        seconds = time.perf_counter() - start
        if self._times is not None:
            self._times.ranking.record(seconds)
            self._times.ranking_by_count.record(candidate_count, seconds)
        return response, seconds


def _ranked_items(request: RecommendRequest, response: ranking_pb2.RankResponse) -> list[RankedItem]:
    actions = tuple(response.actions)
    # Looking whether a map or a list is empty costs as much as reading it, so only what was asked for is looked at.
    described, explained = bool(request.attributes), request.explain
    return [
        RankedItem(
            item_id=item.item_id,
            score=item.score,
            candidate_index=item.candidate_index,
            title=item.title,
            # Cut out as a list first: iterating over the field itself goes number by number.
            action_scores=dict(zip(actions, item.action_scores[:], strict=True)),
            attributes=dict(item.attributes) if described else _NOTHING,
            ranking_rank=item.ranking_rank,
            reasons=tuple(item.reasons) if explained else (),
            explanations=_explanations(item) if explained else (),
        )
        for item in response.items
    ]


def _explanations(item: ranking_pb2.RankedItem) -> list[Explanation]:
    return [
        Explanation(each.item_id, each.title, each.attention, each.similarity, each.retrieval_part, each.ranking_effect)
        for each in item.explanations
    ]
