"""Items that are like one, from the question to the answer.

::

    generation that both hold ──▶ retrieval ──▶ FULL
                                      └ late or down ──▶ POPULAR
"""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from gateway.circuits import Circuits
from gateway.engine.attribute_check import check_attributes
from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageFailure, StageWithoutGeneration
from gateway.engine.similar import SimilarRequest, SimilarResponse, SimilarRows, describe_items, popular_instead
from gateway.engine.stages import SimilarRoute, SimilarRoutes
from gateway.observer import Observer
from twostage.errors import InvalidField, ItemNotFound


class SimilarItems:
    """Answers requests for similar items.

    Args:
        routes: Chooses each request's generation and who is asked.
        observer: Told of what went wrong and how much of the system answered.
        circuits: Through which retrieval is asked; new ones by default.
    """

    def __init__(self, routes: SimilarRoutes, observer: Observer, circuits: Circuits | None = None) -> None:
        self._routes = routes
        self._observer = observer
        self._retrieval = (circuits if circuits is not None else Circuits(observer)).retrieval

    def find(self, request: SimilarRequest, budget: Budget) -> SimilarResponse:
        """Answers exactly ``request.count`` items or says why not.

        Args:
            request: Checked against the contract's bounds.
            budget: What is left of the caller's time.

        Raises:
            InvalidField: The filter or an attribute does not fit the generation.
            ItemNotFound: No generation held has such an item.
        """
        route = self._routes.choose_similar(request.item_id)
        found = self._found(request, budget, route)
        if isinstance(found, StageWithoutGeneration):
            self._observer.asked_again(found)
            # What another generation cannot answer at all is no reason to refuse now.
            with suppress(InvalidField, ItemNotFound):
                other = self._routes.choose_similar(request.item_id)
                second = self._found(request, budget, other)
                if isinstance(second, SimilarRows):
                    route, found = other, second
        generation = route.catalogue.generation
        rung, reason = Rung.FULL, ""
        if isinstance(found, StageFailure):
            self._observer.stage_failed(found)
            rung, reason = Rung.POPULAR, found.reason
            found = popular_instead(request, generation, int(generation.ids.rows([request.item_id])[0]))
        self._observer.similar_answered(rung)
        return SimilarResponse(
            request_id=uuid4().hex,
            items=describe_items(found, generation, request.attributes),
            shortfall=found.shortfall,
            generation=generation.number,
            rung=rung,
            rung_reason=reason,
            timings=found.timings,
        )

    def _found(self, request: SimilarRequest, budget: Budget, route: SimilarRoute) -> SimilarRows | StageFailure:
        """Asks retrieval, in one generation; returns why it did not answer."""
        generation = route.catalogue.generation
        check_attributes(generation.attributes, request.filter, request.attributes)
        if int(generation.ids.rows([request.item_id])[0]) < 0:
            raise ItemNotFound(request.item_id)
        try:
            return self._retrieval.call(
                lambda seconds: route.retrieval.similar_items(
                    request, generation=generation.number, timeout_seconds=seconds
                ),
                budget.retrieval_timeout(ranking_follows=False),
            )
        except StageFailure as failure:
            return failure
