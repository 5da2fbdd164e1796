"""What each stage did to an item, in words. Pure functions over what the stages told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def found_step(sources: Sequence[str], source_ranks: Mapping[str, int], candidate_count: int) -> str:
    """How an item became a candidate, e.g. ``found by user_vector at 12 and popular at 3 of 500``.

    Args:
        sources: The sources that brought it.
        source_ranks: Its rank in each source's own list, from 1; a source without one is named alone.
        candidate_count: How many candidates there were.
    """
    named = [f"{name} at {source_ranks[name]}" if name in source_ranks else name for name in sources]
    return f"found by {_listed(named) or 'no source that is known here'} of {candidate_count}"


def ranked_step(ranking_rank: int, action_scores: Mapping[str, float], weights: Mapping[str, float]) -> str:
    """Where ranking put an item and what spoke for it, e.g. ``ranked 4 by read 0.31, liked 0.12``.

    Args:
        ranking_rank: Its position by blended score, from 1.
        action_scores: The probability of each action.
        weights: How much each action counts; those that count nothing are left out.
    """
    counting = [(name, score) for name, score in action_scores.items() if weights.get(name, 0.0) > 0]
    # What adds most first; in the ranker's order where they add the same.
    counting.sort(key=lambda pair: -weights[pair[0]] * pair[1])
    spoken = ", ".join(f"{name} {score:.2f}" for name, score in counting)
    return f"ranked {ranking_rank} by {spoken}" if spoken else f"ranked {ranking_rank}"


def retrieval_order_step(retrieval_rank: int, retrieval_score: float) -> str:
    """Where an item stands without ranking."""
    return f"ordered {retrieval_rank} by retrieval score {retrieval_score:.3f}, without ranking"


def popular_step(popularity: float) -> str:
    """Why an item stands there without retrieval."""
    return f"taken for its popularity of {popularity:.4g}, without retrieval"


def cached_step(position: int) -> str:
    """Why an item stands there on the strength of an earlier answer, in which it stood at ``position``."""
    return f"stood at {position} of an earlier answer, without retrieval"


def placed_steps(before: int, final_rank: int, *, pinned: bool, causes: Iterable[str]) -> list[str]:
    """What the selection did to an item: ``pinned to 1``, ``moved from 4 to 2 by diversity``, or nothing.

    Args:
        before: Its position before the selection, from 1; 0 when it had none.
        final_rank: Its position in the answer, from 1.
        pinned: True for an item that the request pinned.
        causes: What may have moved it, e.g. ``diversity`` and ``caps``: which of them it was is not known.
    """
    if pinned:
        return [f"pinned to {final_rank}"]
    if before in (0, final_rank):
        return []
    listed = _listed(list(causes))
    return [f"moved from {before} to {final_rank}" + (f" by {listed}" if listed else "")]


def _listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
