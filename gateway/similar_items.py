"""Items that are like one, from the question to the answer.

::

    retrieval ──▶ FULL
        └ late or down ──▶ POPULAR
"""

from __future__ import annotations

from uuid import uuid4

from gateway.engine.attribute_check import check_attributes
from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageFailure
from gateway.engine.similar import SimilarRequest, SimilarResponse, describe_items, popular_instead
from gateway.engine.stages import Similarity
from gateway.observer import Observer
from twostage.bundle.generation import Generation
from twostage.errors import ItemNotFound


class SimilarItems:
    """Answers requests for similar items from one generation.

    Args:
        generation: Whose items are named, filtered and known here; retrieval is asked for the same.
        retrieval: Finds what is near.
        observer: Told of what went wrong and how much of the system answered.
    """

    def __init__(self, generation: Generation, retrieval: Similarity, observer: Observer) -> None:
        self._generation = generation
        self._retrieval = retrieval
        self._observer = observer

    def find(self, request: SimilarRequest, budget: Budget) -> SimilarResponse:
        """Answers exactly ``request.count`` items or says why not.

        Args:
            request: Checked against the contract's bounds.
            budget: What is left of the caller's time.

        Raises:
            InvalidField: The filter or an attribute does not fit the generation.
            ItemNotFound: The generation has no such item.
        """
        generation = self._generation
        check_attributes(generation.attributes, request.filter, request.attributes)
        item_row = int(generation.ids.rows([request.item_id])[0])
        if item_row < 0:
            raise ItemNotFound(request.item_id)
        rung, reason = Rung.FULL, ""
        try:
            found = self._retrieval.similar_items(
                request,
                generation=generation.number,
                timeout_seconds=budget.retrieval_timeout(ranking_follows=False),
            )
        except StageFailure as failure:
            self._observer.stage_failed(failure)
            rung, reason = Rung.POPULAR, failure.reason
            found = popular_instead(request, generation, item_row)
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
