"""One recommendation from the question to the answer; the place to start reading the gateway.

::

    user store ──▶ retrieval ──▶ ranking ──▶ FULL
                      │             └ late or down ──▶ RETRIEVAL_ORDER
                      └ late or down ──▶ POPULAR

What is like an item, whoever asks, is answered in `gateway.similar_items`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Generic
from uuid import uuid4

from gateway.engine.answers import Answer, full_answer, popular_answer, retrieval_order_answer
from gateway.engine.attribute_check import check_attributes
from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageFailure
from gateway.engine.person import NOBODY, Person, StoredUser, describe_person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse, Timing
from gateway.engine.row_cache import RowCache
from gateway.engine.stages import C, Ranked, Ranking, Retrieval, Retrieved
from gateway.engine.taste import TasteRule
from gateway.observer import Observer
from gateway.users.store import UserStore, UserStoreUnavailable
from twostage.bundle.generation import Generation

MAX_CANDIDATE_COUNT = 2_000
"""As many candidates as retrieval gives and ranking takes."""


class Pipeline(Generic[C]):
    """Answers requests for recommendations from one generation.

    Args:
        generation: Whose items are named, filtered and known here; the stages are asked for the same.
        users: What people did.
        retrieval: The first stage.
        ranking: The second stage.
        candidate_count: How many candidates retrieval is asked for, at least a request's own count.
        observer: Told of what went wrong and how much of the system answered.
    """

    def __init__(
        self,
        generation: Generation,
        users: UserStore,
        retrieval: Retrieval[C],
        ranking: Ranking[C],
        *,
        candidate_count: int,
        observer: Observer,
    ) -> None:
        self.generation = generation
        self._users = users
        self._retrieval = retrieval
        self._ranking = ranking
        self._candidate_count = candidate_count
        self._observer = observer
        self._rows = RowCache(generation.ids)
        self._taste = TasteRule(generation.manifest.action_schema)

    def recommend(self, request: RecommendRequest, budget: Budget) -> RecommendResponse:
        """Answers exactly ``request.count`` items or says why not, on the highest rung that the stages allow.

        Args:
            request: Checked against the contract's bounds.
            budget: What is left of the caller's time.

        Raises:
            InvalidField: The filter, a cap or an attribute does not fit the generation.
        """
        check_attributes(self.generation.attributes, request.filter, request.attributes, request.diversity.caps)
        start = time.perf_counter()
        stored, notes = self._read_user(request.user_id)
        person = describe_person(
            self._rows,
            stored,
            recent_item_ids=request.recent_item_ids,
            exclude_item_ids=request.exclude_item_ids,
            include_seen=request.include_seen,
        )
        timings = [Timing("user", (time.perf_counter() - start) * 1000)]

        try:
            retrieved = self._retrieve(request, person, budget)
        except StageFailure as failure:
            self._observer.stage_failed(failure)
            notes += [failure.reason, *_left_out(request, Rung.POPULAR)]
            answer = popular_answer(request, self.generation, person.excluded_rows)
            return self._respond(Rung.POPULAR, answer, person, notes, timings)
        timings += retrieved.timings

        try:
            ranked = self._rank(request, person, retrieved, budget)
        except StageFailure as failure:
            self._observer.stage_failed(failure)
            notes += [failure.reason, *_left_out(request, Rung.RETRIEVAL_ORDER)]
            answer = retrieval_order_answer(request, self.generation, retrieved.candidates, retrieved.shortfall)
            return self._respond(Rung.RETRIEVAL_ORDER, answer, person, notes, timings)
        timings += ranked.timings

        answer = full_answer(request, self.generation, retrieved.candidates, retrieved.shortfall, ranked)
        return self._respond(Rung.FULL, answer, person, notes, timings)

    def _read_user(self, user_id: str) -> tuple[StoredUser, list[str]]:
        """What is stored of a person; a store that fails makes them unknown, and the answer says so."""
        if not user_id:
            return NOBODY, []
        try:
            return self._users.read(user_id, self._taste) or NOBODY, []
        except UserStoreUnavailable as error:
            self._observer.user_store_failed(error)
            return NOBODY, ["user store unavailable: answered as for an unknown person"]

    def _retrieve(self, request: RecommendRequest, person: Person, budget: Budget) -> Retrieved[C]:
        return self._retrieval.retrieve(
            request,
            person,
            generation=self.generation.number,
            count=min(max(self._candidate_count, request.count), self.generation.item_count, MAX_CANDIDATE_COUNT),
            timeout_seconds=budget.retrieval_timeout(),
        )

    def _rank(self, request: RecommendRequest, person: Person, retrieved: Retrieved[C], budget: Budget) -> Ranked:
        return self._ranking.rank(
            request,
            person,
            retrieved.candidates,
            generation=self.generation.number,
            timeout_seconds=budget.ranking_timeout(),
        )

    def _respond(
        self, rung: Rung, answer: Answer, person: Person, notes: Sequence[str], timings: Sequence[Timing]
    ) -> RecommendResponse:
        recommendations, shortfall = answer
        self._observer.answered(rung)
        return RecommendResponse(
            request_id=uuid4().hex,
            recommendations=recommendations,
            shortfall=shortfall,
            generation=self.generation.number,
            rung=rung,
            rung_reason="; ".join(notes),
            timings=timings,
            unknown_item_count=person.unknown_item_count,
        )


def _left_out(request: RecommendRequest, rung: Rung) -> Iterator[str]:
    """What the request asked for and only a stage that did not answer can do."""
    if rung is Rung.POPULAR and request.interest_tags:
        yield "interest_tags were not read"
    if request.diversity.strength > 0:
        yield "diversity.strength was not applied, caps were"
