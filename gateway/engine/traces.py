"""How each stage moved each item of an answer, on each rung."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.engine.request import RecommendRequest
from gateway.engine.response import Trace
from gateway.engine.stages import Candidates, Ranked
from gateway.engine.trace_steps import (
    cached_step,
    found_step,
    placed_steps,
    popular_step,
    ranked_step,
    retrieval_order_step,
)
from twostage.bundle.manifest import Manifest


def full_traces(
    request: RecommendRequest,
    manifest: Manifest,
    candidates: Candidates,
    ranked: Ranked,
    pins: Sequence[int],
    causes: Sequence[str] = (),
) -> Iterator[Trace]:
    """Of what ranking selected, in the order in which it is answered.

    Args:
        request: What was asked.
        manifest: The generation's.
        candidates: As retrieval gave them.
        ranked: As ranking selected them.
        pins: The pinned rows.
        causes: What else may have moved an item, e.g. ``exploration``.
    """
    retrieval_ranks = _ranks(candidates.scores())
    rows, pinned = candidates.rows(), frozenset(pins)
    entry = manifest.rankers.get(ranked.ranker or request.ranker) or manifest.ranker
    weights = request.blend or entry.blend
    causes = [*_causes(request, pins, strength=True), *causes]
    for position, item in enumerate(ranked.items, start=1):
        index = item.candidate_index
        source_ranks = candidates.source_ranks(index)
        yield Trace(
            retrieval_score=candidates.score(index),
            retrieval_rank=int(retrieval_ranks[index]),
            ranking_rank=item.ranking_rank,
            final_rank=position,
            source_ranks=source_ranks,
            steps=(
                found_step(candidates.sources(index), source_ranks, len(candidates)),
                ranked_step(item.ranking_rank, item.action_scores, weights),
                *placed_steps(item.ranking_rank, position, pinned=int(rows[index]) in pinned, causes=causes),
            ),
        )


def retrieval_order_traces(
    request: RecommendRequest, candidates: Candidates, order: NDArray[np.intp], pins: Sequence[int]
) -> Iterator[Trace]:
    """Of candidates in retrieval's order.

    Args:
        request: What was asked.
        candidates: As retrieval gave them.
        order: The positions of those that are answered, in order.
        pins: The pinned rows.
    """
    scores, rows = candidates.scores(), candidates.rows()
    ranks = _ranks(scores)
    pinned, causes = frozenset(pins), _causes(request, pins, strength=False)
    for position, index in enumerate(order.tolist(), start=1):
        score, rank = float(scores[index]), int(ranks[index])
        source_ranks = candidates.source_ranks(index)
        yield Trace(
            retrieval_score=score,
            retrieval_rank=rank,
            final_rank=position,
            source_ranks=source_ranks,
            steps=(
                found_step(candidates.sources(index), source_ranks, len(candidates)),
                retrieval_order_step(rank, score),
                *placed_steps(rank, position, pinned=int(rows[index]) in pinned, causes=causes),
            ),
        )


def popular_traces(popularity: Sequence[float], pinned_count: int) -> Iterator[Trace]:
    """Of popular items, of which the first so many were pinned."""
    yield from _catalogue_traces(pinned_count, [popular_step(count) for count in popularity[pinned_count:]])


def cached_traces(positions: Sequence[int], popularity: Sequence[float], *, pinned_count: int) -> Iterator[Trace]:
    """Of pinned items, then of those of an earlier answer, by where they stood in it, then of popular ones."""
    steps = [*(cached_step(position) for position in positions), *(popular_step(count) for count in popularity)]
    yield from _catalogue_traces(pinned_count, steps)


def _catalogue_traces(pinned_count: int, steps: Sequence[str]) -> Iterator[Trace]:
    for position in range(1, pinned_count + 1):
        yield Trace(final_rank=position, steps=placed_steps(0, position, pinned=True, causes=()))
    for position, step in enumerate(steps, start=pinned_count + 1):
        yield Trace(final_rank=position, steps=[step])


def _causes(request: RecommendRequest, pins: Sequence[int], *, strength: bool) -> list[str]:
    """What the request asked for that may have moved an item which it did not pin.

    Args:
        request: What was asked.
        pins: The pinned rows.
        strength: Whether somebody could apply the diversity's strength.
    """
    asked = {
        "diversity": strength and request.diversity.strength > 0,
        "caps": bool(request.diversity.caps),
        "pins": bool(pins),
    }
    return [name for name, is_asked in asked.items() if is_asked]


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64[C], each candidate's position by score, from 1; ties as they came."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks
