"""Asking ranking as a plan says: for how many candidates, with which overrides, once or for two rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, NamedTuple

from gateway.circuits import Circuit
from gateway.engine.budget import Budget
from gateway.engine.fewer import ranked_positions
from gateway.engine.full_answers import asked_of_ranking
from gateway.engine.ladder import StageFailure
from gateway.engine.overrides import override
from gateway.engine.plan import Overrides
from gateway.engine.question import Question
from gateway.engine.request import RecommendRequest
from gateway.engine.stages import C, Ranked, Ranking, Retrieved
from twostage.errors import InvalidField


class Rankings(NamedTuple):
    """What ranking gave.

    Args:
        ranked: One ranking, or one of each rival in the plan's order.
        fewer: Why not all candidates were ranked, in words for the caller; empty when all were.
    """

    ranked: Sequence[Ranked]
    fewer: str = ""


class RankingStep(NamedTuple, Generic[C]):
    """Ranks the candidates of one question.

    Args:
        question: Whose; notes and timings are added to its own.
        retrieved: The candidates.
        ranking: Who is asked.
        circuit: Through which.
        budget: What is left of the caller's time.
        whole_order: True asks for all candidates in order, not only for those that may be answered.
    """

    question: Question
    retrieved: Retrieved[C]
    ranking: Ranking[C]
    circuit: Circuit
    budget: Budget
    whole_order: bool = False

    def rank(self) -> Rankings:
        """Ranks as many of the candidates as there is time for, never fewer than may be answered.

        Raises:
            StageFailure: Ranking did not answer, or there was no time to ask it.
            InvalidField: It refuses the request; the caller is told.
        """
        question, candidates = self.question, self.retrieved.candidates
        plan, own_count = question.plan, len(candidates)
        count = own_count if self.whole_order else asked_of_ranking(question.request, plan)
        ranking_count = len(plan.rivals) or 1
        affordable = self.budget.affordable_candidates(own_count * ranking_count) // ranking_count
        positions = None
        if max(affordable, count) < own_count:
            generation = question.catalogue.generation
            positions = ranked_positions(
                question.request, generation, candidates.rows(), max(affordable, count), question.pins
            )
            candidates = candidates.take(positions)
        overrides: list[Overrides | None] = [rival.overrides for rival in plan.rivals] or [None]
        ranked = [self._ask(candidates, overrides[0], max(count, 1))]
        for other in overrides[1:]:
            try:
                ranked.append(self._ask(candidates, other, max(count, 1)))
            except StageFailure as failure:
                question.notes.append(f"not interleaved, {failure.reason}")
                break
        for each in ranked:
            question.timings.extend(each.timings)
        if positions is None:
            return Rankings(ranked)
        return Rankings(
            [_among_all(each, positions) for each in ranked],
            f"ranking had time for {len(positions)} of {own_count} candidates",
        )

    def _ask(self, candidates: C, overrides: Overrides | None, count: int) -> Ranked:
        question = self.question
        request = question.request
        if overrides is not None:
            request, dropped = override(question.asked, overrides, question.catalogue.generation.manifest)
            question.notes.extend(f"the experiment's {name} was not applied" for name in dropped)
        try:
            return self._call(request, candidates, count)
        except InvalidField:
            if request is question.asked:
                raise
            # The caller did not ask for what an experiment adds, so it is no reason to refuse them.
            question.notes.append("the experiment's overrides were not applied, ranking refuses them")
            return self._call(question.asked, candidates, count)

    def _call(self, request: RecommendRequest, candidates: C, count: int) -> Ranked:
        question, retrieved, ranking = self.question, self.retrieved, self.ranking
        # A copy costs several microseconds, and as a rule it is the request's own count that is asked for.
        asked = request if count == request.count else replace(request, count=count)
        return self.circuit.call(
            lambda seconds: ranking.rank(
                asked,
                question.person,
                candidates,
                generation=question.catalogue.number,
                timeout_seconds=seconds,
                history_weights=retrieved.history_weights,
                pinned_rows=question.pins,
            ),
            self.budget.ranking_timeout(len(candidates)),
        )


def _among_all(ranked: Ranked, positions: Sequence[int]) -> Ranked:
    """A ranking of some candidates, with the places that they have among all."""
    items = ranked.items
    if positions[-1] != len(positions) - 1:
        items = [item._replace(candidate_index=positions[item.candidate_index]) for item in items]
    return replace(ranked, items=items, candidate_count=len(positions))
