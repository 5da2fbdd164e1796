"""Lists of recommendations that the gateway selects and names itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.engine.caps import CapCounter
from gateway.engine.ladder import StageUnavailable
from gateway.engine.pins import pins_first
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation, Shortfall, ShortfallReason, Trace
from gateway.engine.shortfall import state_shortfall
from gateway.engine.stages import Candidates
from gateway.engine.traces import retrieval_order_traces
from twostage.bundle.generation import Generation

Answer = tuple[list[Recommendation], Shortfall | None]
"""A list and what is missing from it."""


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
        order = order[selected_positions(request, generation, rows[order].tolist(), pins)]
    order = order[: request.count]
    recommendations = name_rows(
        request,
        generation,
        rows[order],
        scores[order].tolist(),
        sources=[candidates.sources(index) for index in order.tolist()],
        candidate_ranks=(order + 1).tolist(),
        traces=retrieval_order_traces(request, candidates, order, pins),
    )
    return recommendations, answer_shortfall(request, generation, len(recommendations), candidates, candidate_shortfall)


def selected_positions(
    request: RecommendRequest, generation: Generation, rows: Sequence[int], pins: Sequence[int]
) -> list[int]:
    """The positions that pins and caps let through, as ranking would: pins stand first whatever the caps say."""
    first = pins_first(pins, rows, request.count)
    caps = CapCounter(request.diversity.caps, generation.attributes)
    caps.take([rows[position] for position in first])
    taken = frozenset(first)
    rest = [position for position in range(len(rows)) if position not in taken]
    admitted = caps.first((rows[position] for position in rest), request.count - len(first))
    return [*first, *(rest[position] for position in admitted)]


def name_rows(
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


def answer_shortfall(
    request: RecommendRequest,
    generation: Generation,
    given_count: int,
    candidates: Candidates,
    candidate_shortfall: Shortfall | None,
) -> Shortfall | None:
    """What is missing from a list of candidates, and why.

    Args:
        request: What was asked.
        generation: Whose items they are.
        given_count: How many are given.
        candidates: Among which they were selected.
        candidate_shortfall: Why there are not more candidates; None when there are as many as were asked for.
    """
    return state_shortfall(
        request.count,
        given_count,
        item_count=generation.item_count,
        candidate_count=len(candidates),
        candidate_reason=ShortfallReason.EXCLUDED if candidate_shortfall is None else candidate_shortfall.reason,
    )
