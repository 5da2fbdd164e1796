"""One recommendation from the question to the answer; the place to start reading the gateway.

::

    generation that all hold ──▶ user store ──▶ retrieval ──▶ ranking ──▶ FULL
                                                   │             ├ too little time for all ──▶ FEWER_CANDIDATES
                                                   │             └ late or down ─────────────▶ RETRIEVAL_ORDER
                                                   └ late or down ──▶ earlier answer ────────▶ CACHED
                                                                        └ none of use ───────▶ POPULAR

Each request is answered from one generation alone (`gateway.engine.generation_choice`). Where a stage says that it does
not hold it after all, the request goes the whole way once more from another one, and the better answer counts. A stage
that fails again and again is not asked for a while (`gateway.circuits`). What is like an item is found in
`gateway.similar_items`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Protocol
from uuid import uuid4

from gateway.circuits import Circuits
from gateway.engine.answer_cache import AnswerCache
from gateway.engine.answers import retrieval_order_answer
from gateway.engine.budget import Budget
from gateway.engine.full_answers import full_answer
from gateway.engine.ladder import Rung, StageFailure, StageUnavailable, StageWithoutGeneration
from gateway.engine.plan import Plan
from gateway.engine.question import Question
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse, ShortfallReason
from gateway.engine.served import NoRecorder, Recorder, Served
from gateway.engine.stages import C, RecommendRoutes, Retrieved, Route
from gateway.low_rungs import LowRungs
from gateway.observer import Observer
from gateway.posing import Ask, Posing
from gateway.ranking_step import RankingStep
from gateway.users.store import UserStore
from twostage.errors import InvalidField


class Plans(Protocol):
    """Says how requests are answered."""

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        """How one request is answered; never fails."""


class Examined(NamedTuple, Generic[C]):
    """An answer that nobody gets, and whom it was asked of."""

    served: Served
    route: Route[C]


@dataclass(frozen=True, slots=True)
class _Attempt(Generic[C]):
    """One way through the stages, and what made it end on a low rung, if anything did."""

    route: Route[C]
    question: Question
    served: Served
    failure: StageFailure | None = None


class Pipeline(Generic[C]):
    """Answers requests for recommendations.

    Args:
        routes: Chooses each request's generation and who is asked.
        users: What people did.
        plans: Says how each request is answered.
        observer: Told of what went wrong and how much of the system answered.
        recorder: Told of each answer; nobody by default.
        circuits: Through which the stages are asked; new ones by default.
        answers: Earlier answers; an empty memory by default.
    """

    def __init__(
        self,
        routes: RecommendRoutes[C],
        users: UserStore,
        *,
        plans: Plans,
        observer: Observer,
        recorder: Recorder | None = None,
        circuits: Circuits | None = None,
        answers: AnswerCache | None = None,
    ) -> None:
        self._routes = routes
        self._posing = Posing(users, observer)
        self._plans = plans
        self._observer = observer
        self._recorder = recorder if recorder is not None else NoRecorder()
        self._circuits = circuits if circuits is not None else Circuits(observer)
        self._answers = answers if answers is not None else AnswerCache()
        self._low_rungs = LowRungs(routes, self._answers)

    def recommend(self, request: RecommendRequest, budget: Budget) -> RecommendResponse:
        """Answers exactly ``request.count`` items or says why not, on the highest rung that the stages allow.

        Args:
            request: Checked against the contract's bounds.
            budget: What is left of the caller's time.

        Raises:
            InvalidField: The filter, a cap, an attribute, the ranker or the blend does not fit the generation.
        """
        began = time.perf_counter()
        request_id = uuid4().hex
        attempt = self._best(Ask(request_id, request, self._plans.plan(request, request_id), budget))
        response = attempt.served.response
        if attempt.failure is not None:
            self._observer.stage_failed(attempt.failure)
        self._observer.answered(response, time.perf_counter() - began)
        if response.rung.value <= Rung.RETRIEVAL_ORDER.value:
            attempt.question.remember(attempt.served, self._answers)
            self._observer.answers.remembered(self._answers.byte_count, len(self._answers))
        self._recorder.note(attempt.served)
        return response

    def examine(
        self, request: RecommendRequest, budget: Budget, *, include_item_ids: Sequence[str] = ()
    ) -> Examined[C]:
        """Answers as :meth:`recommend` does, but nobody is told, and nothing is counted, recorded or remembered.

        Ranking is asked for all candidates, so ``served.ranked`` holds what was not selected too.

        Args:
            request: As for :meth:`recommend`.
            budget: Likewise.
            include_item_ids: Items that become candidates beside those that retrieval finds, unless excluded.

        Raises:
            InvalidField: As for :meth:`recommend`.
        """
        request_id = uuid4().hex
        plan = self._plans.plan(request, request_id)
        ask = Ask(request_id, replace(request, trace=True), plan, budget, True, include_item_ids)
        attempt = self._best(ask)
        return Examined(attempt.served, attempt.route)

    def _best(self, ask: Ask) -> _Attempt[C]:
        attempt = self._attempt(ask, self._routes.choose(ask.plan.generation))
        if isinstance(attempt.failure, StageWithoutGeneration):
            # Its replica is known by now to hold others, so the choice is another one, if there is one.
            if not ask.examined:
                self._observer.asked_again(attempt.failure)
            # What another generation cannot answer at all, e.g. a ranker that it lacks, is no reason to refuse now.
            with suppress(InvalidField):
                other = self._attempt(ask, self._routes.choose(ask.plan.generation))
                if other.served.response.rung.value < attempt.served.response.rung.value:
                    attempt = other
        return attempt

    def _attempt(self, ask: Ask, route: Route[C]) -> _Attempt[C]:
        """Goes one way through the stages, all of it in one generation."""
        generation = route.catalogue.generation
        question = self._posing.pose(ask, route.catalogue)
        try:
            retrieved = self._retrieve(ask, question, route)
        except StageFailure as failure:
            return _Attempt(route, question, self._low_rungs.answer(question, failure), failure)
        question.timings.extend(retrieved.timings)
        candidates, shortfall = retrieved.candidates, retrieved.shortfall
        step = RankingStep(question, retrieved, route.ranking, self._circuits.ranking, ask.budget, ask.examined)
        try:
            ranked, fewer = step.rank()
        except StageFailure as failure:
            try:
                answer = retrieval_order_answer(question.request, generation, candidates, shortfall, question.pins)
            except StageUnavailable as untrue:
                return _Attempt(route, question, self._low_rungs.answer(question, untrue), untrue)
            served = question.served(Rung.RETRIEVAL_ORDER, answer, failure, candidates=candidates)
            return _Attempt(route, question, served, failure)
        answer = full_answer(
            question.request,
            ask.plan,
            generation,
            candidates,
            shortfall,
            ranked,
            pins=question.pins,
            request_id=ask.request_id,
        )
        if not fewer and shortfall is not None and shortfall.reason is ShortfallReason.TOO_FEW_CANDIDATES:
            fewer = f"retrieval gave {len(candidates)} of {question.plan.candidate_count} candidates"
        if fewer:
            question.notes.insert(0, fewer)
        rung = Rung.FEWER_CANDIDATES if fewer else Rung.FULL
        return _Attempt(route, question, question.served(rung, answer, candidates=candidates, ranked=ranked[0]))

    def _retrieve(self, ask: Ask, question: Question, route: Route[C]) -> Retrieved[C]:
        return self._circuits.retrieval.call(
            lambda seconds: route.retrieval.retrieve(
                question.request,
                question.person,
                generation=question.catalogue.number,
                count=question.plan.candidate_count,
                timeout_seconds=seconds,
                quotas=question.plan.source_quotas,
                include_item_ids=ask.include_item_ids,
            ),
            ask.budget.retrieval_timeout(),
        )
