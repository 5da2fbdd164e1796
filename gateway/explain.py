"""Why an item is where it is in an answer, or what lost it.

The request is answered anew, with a trace and without a record of it. What that answer does not tell of the item is
found out by asking a stage once more, in the same generation and for the same person and plan::

    in the answer ──▶ asked again with reasons for each item
    no candidate ──▶ retrieval, with the item among the candidates by its id ──▶ ranking, all of them
    refused by a cap ──▶ ranking, all candidates without pins, caps and diversity

What follows from the answers is `gateway.engine.why_told`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Generic, Protocol, cast

import numpy as np

from gateway.engine.budget import Budget
from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import StageFailure, StageLate, StageUnavailable
from gateway.engine.overrides import override
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation
from gateway.engine.served import Served
from gateway.engine.similar import SimilarRequest
from gateway.engine.stages import C, Routes
from gateway.engine.why import ItemQuestion, Outcome, Why
from gateway.engine.why_stages import SecondLook, find_candidate
from gateway.engine.why_told import Evidence, Likeness, tell
from gateway.pipeline import Examined
from twostage.errors import DeadlineSpent, InvalidField, ItemNotFound, NotReady
from twostage.features.diversity import Diversity

MAX_NEIGHBOUR_COUNT = 2_000
"""Among how many of its nearest items the kept one that an item is most like is looked for; retrieval gives no more."""
MAX_INCLUDED_COUNT = 200
"""How many items retrieval takes by their ids, pinned ones among them."""


class Examiner(Protocol[C]):
    """Answers requests that nobody is shown; `gateway.pipeline.Pipeline`."""

    def examine(
        self, request: RecommendRequest, budget: Budget, *, include_item_ids: Sequence[str] = ()
    ) -> Examined[C]:
        """Answers as Recommend does, and tells what the answer was made from; nothing is recorded or remembered."""


class Explainer(Generic[C]):
    """Explains.

    Args:
        examiner: Answers anew.
        routes: Knows the generations, and whom to ask what an item is like.
    """

    def __init__(self, examiner: Examiner[C], routes: Routes[C]) -> None:
        self._examiner = examiner
        self._routes = routes

    def explain(self, question: ItemQuestion, budget: Budget) -> Why:
        """Says why an item is where it is.

        Args:
            question: Checked against the contract's bounds.
            budget: What is left of the caller's time.

        Raises:
            ItemNotFound: The generation that answers has no such item.
            InvalidField: The request does not fit the generation.
            DeadlineSpent: The answer left no time to find out what became of the item.
            NotReady: A stage failed while it was asked what became of the item.
        """
        request = replace(question.request, trace=True, explain=False)
        examined = self._examiner.examine(request, budget)
        served = examined.served
        catalogue = self._catalogue(served.response.generation)
        row = catalogue.rows.rows([question.item_id])[0]
        if row < 0:
            raise ItemNotFound(question.item_id)
        manifest = catalogue.generation.manifest
        if served.plan.rivals:
            # Of two rankings the first is told, so all that follows is as that one was asked.
            first, _ = override(request, served.plan.rivals[0].overrides, manifest)
            asked = replace(served.request, ranker=first.ranker, blend=first.blend, diversity=first.diversity)
            served = replace(served, request=asked)
        evidence = Evidence(served, catalogue.generation, question.item_id, row)
        try:
            evidence = self._looked_into(evidence, examined, budget)
        except StageLate as failure:
            raise DeadlineSpent(f"before all was known of the item ({failure.reason})") from failure
        except StageFailure as failure:
            raise NotReady(f"{failure.reason} when asked about the item", detail=failure.detail) from failure
        ranker = served.response.ranker or served.request.ranker
        entry = manifest.rankers.get(ranker) or manifest.ranker
        why = tell(evidence, served.request.blend or entry.blend)
        if why.outcome is Outcome.RECOMMENDED:
            return replace(why, recommendation=self._with_reasons(why.recommendation, served, request, budget))
        if why.lost_by == "selection: diversity":
            # Most items are not, and what an item is like is one more question.
            likeness = self._likeness(evidence, budget)
            return tell(replace(evidence, likeness=likeness), served.request.blend or entry.blend)
        return why

    def _catalogue(self, number: int) -> Catalogue:
        catalogue = self._routes.held(number)
        if catalogue is None:
            raise NotReady(f"generation {number} was dropped while it answered")
        return catalogue

    def _looked_into(self, evidence: Evidence, examined: Examined[C], budget: Budget) -> Evidence:
        """Asks a stage again where the answer does not tell what became of the item.

        Raises:
            StageFailure: It did not answer.
        """
        served, route = evidence.served, examined.route
        # The protocol of records knows no kind of candidates; these are the route's.
        candidates = cast("C | None", served.candidates)
        if evidence.rules[1] is not None or candidates is None:
            return evidence
        number = served.response.generation
        candidate = find_candidate(candidates, evidence.row)
        if candidate is None:
            # The item first: pinned ones could take all places.
            included = (evidence.item_id, *served.request.pinned_item_ids[: MAX_INCLUDED_COUNT - 1])
            retrieved = route.retrieval.retrieve(
                replace(served.request, pinned_item_ids=included),
                served.person,
                generation=number,
                count=served.plan.candidate_count,
                timeout_seconds=budget.retrieval_timeout(),
                quotas=served.plan.source_quotas,
            )
            second = SecondLook(retrieved.candidates, None)
            # Its retrieval score says why it is no candidate; what ranking would say is told where there is time.
            with suppress(StageFailure):
                second = self._ranked_by_score(served, examined, retrieved.candidates, budget)
            return replace(evidence, second=second)
        if served.ranked is None or evidence.ranked_item is not None:
            return evidence
        second = self._ranked_by_score(served, examined, candidates, budget)
        if second.find(evidence.row) is None:
            raise StageUnavailable("ranking", "it left out an item that it was asked to rank")
        return replace(evidence, second=second)

    def _ranked_by_score(self, served: Served, examined: Examined[C], candidates: C, budget: Budget) -> SecondLook:
        """All candidates in the order of their scores.

        Raises:
            StageFailure: Ranking did not answer.
        """
        plain = replace(served.request, count=max(len(candidates), 1), diversity=Diversity(), attributes=())
        ranked = examined.route.ranking.rank(
            plain,
            served.person,
            candidates,
            generation=served.response.generation,
            timeout_seconds=budget.ranking_timeout(),
        )
        return SecondLook(candidates, ranked)

    def _with_reasons(
        self, recommendation: Recommendation, served: Served, request: RecommendRequest, budget: Budget
    ) -> Recommendation:
        """The recommendation with what carried it, where that can be told in the time that is left."""
        if served.ranked is None:
            return recommendation
        with suppress(InvalidField):
            again = self._examiner.examine(replace(request, explain=True), budget).served.response
            for other in again.recommendations:
                if other.item_id == recommendation.item_id and again.generation == served.response.generation:
                    return recommendation._replace(reasons=other.reasons, explanations=other.explanations)
        return recommendation

    def _likeness(self, evidence: Evidence, budget: Budget) -> Likeness | None:
        """The item of the answer that an item is most like; None where retrieval does not tell."""
        count = min(MAX_NEIGHBOUR_COUNT, evidence.generation.item_count - 1)
        try:
            route = self._routes.choose_similar(evidence.item_id)
            if route.catalogue.number != evidence.generation.number or count < 1:
                return None
            found = route.retrieval.similar_items(
                SimilarRequest(evidence.item_id, count),
                generation=route.catalogue.number,
                timeout_seconds=budget.retrieval_timeout(ranking_follows=False),
            )
        except StageFailure:
            return None
        kept_ids = [each.item_id for each in evidence.selected]
        kept_rows = evidence.generation.ids.rows(kept_ids)
        places = np.flatnonzero(np.isin(found.rows, kept_rows))
        if not len(places):
            return None
        nearest = int(places[0])
        row = int(found.rows[nearest])
        return Likeness(kept_ids[kept_rows.tolist().index(row)], float(found.scores[nearest]))
