"""The list of recommendations on each rung, from what the stages gave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.engine.caps import CapCounter
from gateway.engine.ladder import StageUnavailable
from gateway.engine.pins import pins_first
from gateway.engine.popular import pick_popular
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation, Shortfall, ShortfallReason, Trace
from gateway.engine.shortfall import state_shortfall
from gateway.engine.stages import Candidates, Ranked
from gateway.engine.traces import full_traces, popular_traces, retrieval_order_traces
from twostage.bundle.generation import Generation

Answer = tuple[list[Recommendation], Shortfall | None]
"""A list and what is missing from it."""

_POPULAR_SOURCES = ("popular",)
# As retrieval names what is asked for by id.
_PINNED_SOURCES = ("included",)


def full_answer(
    request: RecommendRequest,
    generation: Generation,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
    ranked: Ranked,
    pins: Sequence[int] = (),
) -> Answer:
    """The list as ranking selected it.

    Args:
        request: What was asked.
        generation: Whose items they are.
        candidates: As retrieval gave them.
        candidate_shortfall: Why there are not more candidates; None when there are as many as were asked for.
        ranked: As ranking selected them.
        pins: The pinned rows, for the trace.
    """
    traces = full_traces(request, generation.manifest, candidates, ranked, pins) if request.trace else None
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
        for item in ranked.items[: request.count]
    ]
    return recommendations, _shortfall(request, generation, len(recommendations), candidates, candidate_shortfall)


def retrieval_order_answer(
    request: RecommendRequest,
    generation: Generation,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
    pins: Sequence[int] = (),
) -> Answer:
    """The candidates by their retrieval score, pinned ones first, the others within the request's caps.

    Raises:
        StageUnavailable: A candidate is no item of the generation, which ranking would have found out.
    """
    scores, rows = candidates.scores(), candidates.rows()
    if len(rows) and int(rows.max()) >= generation.item_count:
        why = f"expected rows below {generation.item_count}, received {int(rows.max())}"
        raise StageUnavailable("retrieval", why)
    # Stable: without a history all scores are 0, and then the order in which retrieval gave them stands.
    order = np.argsort(-scores, kind="stable")
    if request.diversity.caps or pins:
        order = order[_selected(request, generation, rows[order].tolist(), pins)]
    order = order[: request.count]
    recommendations = _from_catalogue(
        request,
        generation,
        rows[order],
        scores[order].tolist(),
        sources=[candidates.sources(index) for index in order.tolist()],
        candidate_ranks=(order + 1).tolist(),
        traces=retrieval_order_traces(request, candidates, order, pins),
    )
    return recommendations, _shortfall(request, generation, len(recommendations), candidates, candidate_shortfall)


def popular_answer(
    request: RecommendRequest, generation: Generation, excluded_rows: Sequence[int], pins: Sequence[int] = ()
) -> Answer:
    """Pinned items and then popular ones that filter and exclusions leave, the latter within the request's caps."""
    allowed = generation.attributes.rows(request.filter) if request.filter else None
    caps = CapCounter(request.diversity.caps, generation.attributes)
    # Pins are popular items too as far as filter and exclusions go, but nobody's order and no cap holds them back.
    first = pick_popular(
        np.array(pins, np.uint32), min(request.count, len(pins)), excluded_rows=excluded_rows, allowed=allowed
    ).rows
    caps.take(first.tolist())
    picked = pick_popular(
        generation.popular_rows,
        request.count - len(first),
        excluded_rows=[*excluded_rows, *first.tolist()],
        allowed=allowed,
        admit=caps.admit if request.diversity.caps else None,
    )
    rows = np.concatenate([first, picked.rows])
    popularity = generation.popularity[rows].tolist()
    recommendations = _from_catalogue(
        request,
        generation,
        rows,
        popularity,
        sources=[_PINNED_SOURCES] * len(first) + [_POPULAR_SOURCES] * len(picked.rows),
        candidate_ranks=[0] * len(rows),
        traces=popular_traces(popularity, len(first)),
    )
    shortfall = state_shortfall(
        request.count,
        len(rows),
        item_count=generation.item_count,
        candidate_count=len(rows) + picked.refused_count,
    )
    return recommendations, shortfall


def _selected(request: RecommendRequest, generation: Generation, rows: Sequence[int], pins: Sequence[int]) -> list[int]:
    """The positions that pins and caps let through, as ranking would: pins stand first whatever the caps say."""
    first = pins_first(pins, rows, request.count)
    caps = CapCounter(request.diversity.caps, generation.attributes)
    caps.take([rows[position] for position in first])
    taken = frozenset(first)
    rest = [position for position in range(len(rows)) if position not in taken]
    admitted = caps.first((rows[position] for position in rest), request.count - len(first))
    return [*first, *(rest[position] for position in admitted)]


def _from_catalogue(
    request: RecommendRequest,
    generation: Generation,
    rows: NDArray[np.integer],
    scores: Sequence[float],
    *,
    sources: Sequence[Sequence[str]],
    candidate_ranks: Sequence[int],
    traces: Iterator[Trace],
) -> list[Recommendation]:
    """Names rows from the gateway's own copy of the catalogue; traces are made only when they are asked for."""
    ids, titles = generation.ids.ids(rows), generation.titles.take(rows)
    names = request.attributes
    return [
        Recommendation(
            item_id=ids[position],
            score=scores[position],
            title=titles[position],
            attributes=generation.attributes.describe(row, names) if names else {},
            sources=sources[position],
            candidate_rank=candidate_ranks[position],
            trace=next(traces) if request.trace else None,
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
