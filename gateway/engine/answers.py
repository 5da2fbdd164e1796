"""The list of recommendations on each rung, from what the stages gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.engine.caps import CapCounter
from gateway.engine.popular import pick_popular
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation, Shortfall, ShortfallReason, Trace
from gateway.engine.shortfall import state_shortfall
from gateway.engine.stages import Candidates, Ranked
from twostage.bundle.generation import Generation

Answer = tuple[list[Recommendation], Shortfall | None]
"""A list and what is missing from it."""

_POPULAR_SOURCES = ("popular",)


def full_answer(
    request: RecommendRequest,
    generation: Generation,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
    ranked: Ranked,
) -> Answer:
    """The list as ranking selected it."""
    retrieval_ranks = _retrieval_ranks(candidates.scores()) if request.trace else None
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
            trace=None
            if retrieval_ranks is None
            else Trace(
                retrieval_score=candidates.score(item.candidate_index),
                retrieval_rank=int(retrieval_ranks[item.candidate_index]),
                ranking_rank=item.ranking_rank,
                final_rank=position,
                source_ranks=candidates.source_ranks(item.candidate_index),
            ),
        )
        for position, item in enumerate(ranked.items[: request.count], start=1)
    ]
    return recommendations, _shortfall(request, generation, len(recommendations), candidates, candidate_shortfall)


def retrieval_order_answer(
    request: RecommendRequest,
    generation: Generation,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
) -> Answer:
    """The candidates by their retrieval score, within the request's caps."""
    scores, rows = candidates.scores(), candidates.rows()
    # Stable: without a history all scores are 0, and then the order in which retrieval gave them stands.
    order = np.argsort(-scores, kind="stable")
    if request.diversity.caps:
        admitted = CapCounter(request.diversity.caps, generation.attributes).first(rows[order].tolist(), request.count)
        order = order[admitted]
    order = order[: request.count]
    recommendations = _from_catalogue(
        request,
        generation,
        rows[order],
        scores[order].tolist(),
        sources=[candidates.sources(index) for index in order.tolist()],
        candidate_ranks=(order + 1).tolist(),
        ranks=_retrieval_ranks(scores)[order].tolist(),
        source_ranks=[candidates.source_ranks(index) for index in order.tolist()] if request.trace else None,
    )
    return recommendations, _shortfall(request, generation, len(recommendations), candidates, candidate_shortfall)


def popular_answer(request: RecommendRequest, generation: Generation, excluded_rows: Sequence[int]) -> Answer:
    """Popular items that the request's filter, exclusions and caps leave."""
    caps = request.diversity.caps
    picked = pick_popular(
        generation.popular_rows,
        request.count,
        excluded_rows=excluded_rows,
        allowed=generation.attributes.rows(request.filter) if request.filter else None,
        admit=CapCounter(caps, generation.attributes).admit if caps else None,
    )
    count = len(picked.rows)
    recommendations = _from_catalogue(
        request,
        generation,
        picked.rows,
        generation.popularity[picked.rows].tolist(),
        sources=[_POPULAR_SOURCES] * count,
        candidate_ranks=[0] * count,
        ranks=[0] * count,
    )
    shortfall = state_shortfall(
        request.count,
        count,
        item_count=generation.item_count,
        candidate_count=count + picked.refused_count,
    )
    return recommendations, shortfall


def _from_catalogue(
    request: RecommendRequest,
    generation: Generation,
    rows: NDArray[np.integer],
    scores: Sequence[float],
    *,
    sources: Sequence[Sequence[str]],
    candidate_ranks: Sequence[int],
    ranks: Sequence[int],
    source_ranks: Sequence[Mapping[str, int]] | None = None,
) -> list[Recommendation]:
    """Names rows from the gateway's own copy of the catalogue."""
    ids, titles = generation.ids.ids(rows), generation.titles.take(rows)
    names = request.attributes
    was_candidate = bool(ranks and ranks[0])
    return [
        Recommendation(
            item_id=ids[position],
            score=scores[position],
            title=titles[position],
            attributes=generation.attributes.describe(row, names) if names else {},
            sources=sources[position],
            candidate_rank=candidate_ranks[position],
            trace=Trace(
                retrieval_score=scores[position] if was_candidate else 0.0,
                retrieval_rank=ranks[position],
                final_rank=position + 1,
                source_ranks={} if source_ranks is None else source_ranks[position],
            )
            if request.trace
            else None,
        )
        for position, row in enumerate(rows.tolist())
    ]


def _shortfall(
    request: RecommendRequest,
    generation: Generation,
    given_count: int,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
) -> Shortfall | None:
    return state_shortfall(
        request.count,
        given_count,
        item_count=generation.item_count,
        candidate_count=len(candidates),
        candidate_reason=ShortfallReason.EXCLUDED if candidate_shortfall is None else candidate_shortfall.reason,
    )


def _retrieval_ranks(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64[C], each candidate's position by score, from 1; ties as they came."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks
