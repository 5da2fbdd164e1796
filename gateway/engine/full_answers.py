"""The list of recommendations where ranking answered: as it ranked, explored, or drafted from two rankings.

Everything here depends on what the stages gave, the plan and the request's id alone, so an answer can be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.engine.answers import Answer, answer_shortfall
from gateway.engine.exploration import explore
from gateway.engine.interleave import team_draft
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation, Shortfall
from gateway.engine.stages import Candidates, Ranked, RankedItem
from gateway.engine.traces import full_traces
from twostage.bundle.generation import Generation

MAX_RANKED_COUNT = 2_000
"""As many items as ranking gives."""


class _Shown(NamedTuple):
    """What is shown, best first; ``chances`` and ``teams`` are empty where nothing was drawn."""

    items: Sequence[RankedItem]
    chances: Sequence[float] = ()
    teams: Sequence[str] = ()


def asked_of_ranking(request: RecommendRequest, plan: Plan) -> int:
    """How many items ranking is asked for: the request's own count, and what exploration chooses among."""
    if not plan.exploration.epsilon:
        return request.count
    return min(request.count + plan.exploration.pool_count, MAX_RANKED_COUNT)


def full_answer(
    request: RecommendRequest,
    plan: Plan,
    generation: Generation,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
    rankings: Sequence[Ranked],
    *,
    pins: Sequence[int] = (),
    request_id: str = "",
) -> Answer:
    """The list as ranking selected it, with what the plan does to it.

    Args:
        request: What was asked.
        plan: How it is answered.
        generation: Whose items they are.
        candidates: As retrieval gave them.
        candidate_shortfall: Why there are not more candidates; None when there are as many as were asked for.
        rankings: As ranking selected them: one, or one of each of the plan's rivals in their order.
        pins: The pinned rows.
        request_id: Names the answer, and so what is drawn by chance.
    """
    shown = _shown(request, plan, candidates, rankings, pins, request_id)
    first = rankings[0]
    traces = None
    if request.trace:
        causes = ["interleaving"] if len(rankings) > 1 else ["exploration"] if plan.exploration.epsilon else []
        answered = Ranked(shown.items, first.timings, first.ranker)
        traces = full_traces(request, generation.manifest, candidates, answered, pins, causes)
    recommendations = [
        Recommendation(
            item_id=item.item_id,
            score=item.score,
            title=item.title,
            action_scores=item.action_scores,
            attributes=item.attributes,
            sources=candidates.sources(item.candidate_index),
            reasons=item.reasons,
            candidate_rank=item.candidate_index + 1,
            trace=None if traces is None else next(traces),
            explanations=item.explanations,
        )
        for item in shown.items
    ]
    if shown.chances:
        recommendations = [
            each._replace(propensity=chance, team=team)
            for each, chance, team in zip(recommendations, shown.chances, shown.teams, strict=True)
        ]
    return recommendations, answer_shortfall(request, generation, len(recommendations), candidates, candidate_shortfall)


def _shown(
    request: RecommendRequest,
    plan: Plan,
    candidates: Candidates,
    rankings: Sequence[Ranked],
    pins: Sequence[int],
    request_id: str,
) -> _Shown:
    items = rankings[0].items
    if len(rankings) > 1:
        # Pins stand first in both, in the same order.
        first = items[: _pinned_count(candidates, items[: request.count], pins)]
        by_index = [{item.candidate_index: item for item in ranked.items[len(first) :]} for ranked in rankings]
        drafted = team_draft(list(by_index[0]), list(by_index[1]), request.count - len(first), request_id)
        return _Shown(
            [*first, *(by_index[each.team][each.item] for each in drafted)],
            [1.0] * len(first) + [each.propensity for each in drafted],
            [""] * len(first) + [plan.rivals[each.team].arm for each in drafted],
        )
    if plan.exploration.epsilon:
        pinned_count = _pinned_count(candidates, items[: request.count], pins)
        explored = explore(items, request.count, plan.exploration, request_id, pinned_count=pinned_count)
        return _Shown([each.item for each in explored], [each.propensity for each in explored], [""] * len(explored))
    return _Shown(items[: request.count])


def _pinned_count(candidates: Candidates, items: Sequence[RankedItem], pins: Sequence[int]) -> int:
    if not pins:
        return 0
    pinned, rows = frozenset(pins), candidates.rows()
    return sum(int(rows[item.candidate_index]) in pinned for item in items)
