"""One recommendation from the question to the answer; the place to start reading the gateway.

::

    generation that all hold ──▶ user store ──▶ retrieval ──▶ ranking ──▶ FULL
                                                   │             └ late or down ──▶ RETRIEVAL_ORDER
                                                   └ late or down ──▶ POPULAR

Each request is answered from one generation alone (`gateway.engine.generation_choice`). Where a stage says that it does
not hold it after all, the request goes the whole way once more from another one, and the better answer counts. What is
like an item, whoever asks, is answered in `gateway.similar_items`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple
from uuid import uuid4

from gateway.engine.answers import Answer, full_answer, popular_answer, retrieval_order_answer
from gateway.engine.attribute_check import check_attributes
from gateway.engine.budget import Budget
from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import Rung, StageFailure, StageUnavailable, StageWithoutGeneration
from gateway.engine.person import NOBODY, Person, StoredUser, describe_person
from gateway.engine.pins import pinned_rows
from gateway.engine.ranker_check import check_ranker
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse, Timing
from gateway.engine.stages import C, Route, Routes
from gateway.observer import Observer
from gateway.users.store import UserStore, UserStoreUnavailable
from twostage.errors import InvalidField

MAX_CANDIDATE_COUNT = 2_000
"""As many candidates as retrieval gives and ranking takes."""


class _Attempt(NamedTuple):
    """One way through the stages: the answer, and what made it stand on a low rung, if anything."""

    response: RecommendResponse
    failure: StageFailure | None = None


class Pipeline(Generic[C]):
    """Answers requests for recommendations.

    Args:
        routes: Chooses each request's generation and who is asked.
        users: What people did.
        candidate_count: How many candidates retrieval is asked for, at least a request's own count.
        observer: Told of what went wrong and how much of the system answered.
    """

    def __init__(self, routes: Routes[C], users: UserStore, *, candidate_count: int, observer: Observer) -> None:
        self._routes = routes
        self._users = users
        self._candidate_count = candidate_count
        self._observer = observer

    def recommend(self, request: RecommendRequest, budget: Budget) -> RecommendResponse:
        """Answers exactly ``request.count`` items or says why not, on the highest rung that the stages allow.

        Args:
            request: Checked against the contract's bounds.
            budget: What is left of the caller's time.

        Raises:
            InvalidField: The filter, a cap, an attribute, the ranker or the blend does not fit the generation.
        """
        attempt = self._attempt(request, budget, self._routes.choose())
        if isinstance(attempt.failure, StageWithoutGeneration):
            # Its replica is known by now to hold others, so the choice is another one, if there is one.
            self._observer.asked_again(attempt.failure)
            # What another generation cannot answer at all, e.g. a ranker that it lacks, is no reason to refuse now.
            with suppress(InvalidField):
                other = self._attempt(request, budget, self._routes.choose())
                if other.response.rung.value < attempt.response.rung.value:
                    attempt = other
        if attempt.failure is not None:
            self._observer.stage_failed(attempt.failure)
        self._observer.answered(attempt.response.rung)
        return attempt.response

    def _attempt(self, request: RecommendRequest, budget: Budget, route: Route[C]) -> _Attempt:
        """Goes one way through the stages, all of it in one generation."""
        catalogue = route.catalogue
        generation = catalogue.generation
        check_attributes(generation.attributes, request.filter, request.attributes, request.diversity.caps)
        if request.ranker or request.blend:
            check_ranker(generation.manifest, request.ranker, request.blend)
        start = time.perf_counter()
        stored, notes = self._read_user(request.user_id, catalogue)
        person = describe_person(
            catalogue.rows,
            stored,
            recent_item_ids=request.recent_item_ids,
            exclude_item_ids=request.exclude_item_ids,
            include_seen=request.include_seen,
        )
        pins = pinned_rows(catalogue.rows, request.pinned_item_ids)
        timings = [Timing("user", (time.perf_counter() - start) * 1000)]

        def respond(rung: Rung, answer: Answer, failure: StageFailure | None = None, ranker: str = "") -> _Attempt:
            reasons = notes if failure is None else [*notes, failure.reason, *_left_out(request, rung)]
            return _Attempt(_response(catalogue, rung, answer, person, reasons, timings, ranker), failure)

        def popular(failure: StageFailure) -> _Attempt:
            return respond(Rung.POPULAR, popular_answer(request, generation, person.excluded_rows, pins), failure)

        try:
            retrieved = route.retrieval.retrieve(
                request,
                person,
                generation=generation.number,
                count=min(max(self._candidate_count, request.count), generation.item_count, MAX_CANDIDATE_COUNT),
                timeout_seconds=budget.retrieval_timeout(),
            )
        except StageFailure as failure:
            return popular(failure)
        timings += retrieved.timings
        candidates, shortfall = retrieved.candidates, retrieved.shortfall

        try:
            ranked = route.ranking.rank(
                request,
                person,
                candidates,
                generation=generation.number,
                timeout_seconds=budget.ranking_timeout(),
                history_weights=retrieved.history_weights,
                pinned_rows=pins,
            )
        except StageFailure as failure:
            try:
                answer = retrieval_order_answer(request, generation, candidates, shortfall, pins)
            except StageUnavailable as untrue:
                return popular(untrue)
            return respond(Rung.RETRIEVAL_ORDER, answer, failure)
        timings += ranked.timings
        return respond(
            Rung.FULL, full_answer(request, generation, candidates, shortfall, ranked, pins), ranker=ranked.ranker
        )

    def _read_user(self, user_id: str, catalogue: Catalogue) -> tuple[StoredUser, list[str]]:
        """What is stored of a person; a store that fails makes them unknown, and the answer says so."""
        if not user_id:
            return NOBODY, []
        try:
            return self._users.read(user_id, catalogue.taste) or NOBODY, []
        except UserStoreUnavailable as error:
            self._observer.user_store_failed(error)
            return NOBODY, ["user store unavailable: answered as for an unknown person"]


def _response(
    catalogue: Catalogue,
    rung: Rung,
    answer: Answer,
    person: Person,
    notes: Sequence[str],
    timings: Sequence[Timing],
    ranker: str,
) -> RecommendResponse:
    recommendations, shortfall = answer
    return RecommendResponse(
        request_id=uuid4().hex,
        recommendations=recommendations,
        shortfall=shortfall,
        generation=catalogue.number,
        rung=rung,
        rung_reason="; ".join(notes),
        timings=timings,
        unknown_item_count=person.unknown_item_count,
        ranker=ranker,
    )


def _left_out(request: RecommendRequest, rung: Rung) -> Iterator[str]:
    """What the request asked for and only a stage that did not answer can do."""
    if rung is Rung.POPULAR and request.interest_tags:
        yield "interest_tags were not read"
    if request.diversity.strength > 0:
        yield "diversity.strength was not applied, caps were"
    unapplied = [name for name, asked in (("ranker", request.ranker), ("blend", request.blend)) if asked]
    if unapplied:
        yield f"{' and '.join(unapplied)} {'were' if len(unapplied) > 1 else 'was'} not applied"
    if request.explain:
        yield "nothing could be explained"
