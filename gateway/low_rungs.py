"""What is answered when retrieval gives nothing: an earlier answer to the same person, else popular items."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from gateway.engine.answer_cache import AnswerCache
from gateway.engine.catalogue_answers import cached_answer, popular_answer
from gateway.engine.ladder import Rung, StageFailure
from gateway.engine.question import Question
from gateway.engine.served import Served
from gateway.engine.stages import RecommendRoutes
from twostage.errors import InvalidField


class LowRungs(NamedTuple):
    """Answers from what the gateway has itself.

    Args:
        routes: Tells which generations it has.
        answers: Earlier answers.
    """

    routes: RecommendRoutes[Any]
    answers: AnswerCache

    def answer(self, question: Question, failure: StageFailure) -> Served:
        """Answers a question without retrieval.

        Args:
            question: In the generation in which retrieval was asked.
            failure: Why it gave nothing.
        """
        cached = self._cached(question, failure)
        if cached is not None:
            return cached
        generation, excluded = question.catalogue.generation, question.person.excluded_rows
        return question.served(
            Rung.POPULAR, popular_answer(question.request, generation, excluded, question.pins), failure
        )

    def _cached(self, question: Question, failure: StageFailure) -> Served | None:
        """An earlier answer, in the generation that it came from; None where there is none that may be used."""
        earlier = question.recall(self.answers)
        catalogue = self.routes.held(earlier.generation) if earlier is not None else None
        if earlier is None or catalogue is None:
            return None
        # That generation may lack an attribute which the request names.
        with suppress(InvalidField):
            there = question.elsewhere(catalogue)
            answer = cached_answer(there.request, catalogue.generation, earlier, there.person.excluded_rows, there.pins)
            if answer is not None:
                note = f"answered from the earlier answer {earlier.request_id}"
                return there.served(Rung.CACHED, answer, failure, note=note)
        return None
