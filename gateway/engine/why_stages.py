"""What each stage did to an item, as steps with their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gateway.engine.response import Recommendation, Trace
from gateway.engine.served import Served
from gateway.engine.stages import Candidates, Ranked, RankedItem
from gateway.engine.trace_steps import ranked_step
from gateway.engine.why import Effect, Step
from gateway.engine.why_selection import Standing
from twostage.bundle.generation import Generation


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item among the candidates.

    Args:
        index: Its position as retrieval gave it, from 0.
        score: user vector · item vector.
        rank: Its position by that score, from 1, ties as they came.
        count: How many candidates there are.
    """

    index: int
    score: float
    rank: int
    count: int


class SecondLook(NamedTuple):
    """The stages asked again to find out more than the answer tells.

    Args:
        candidates: The answer's, or those with the item among them.
        ranked: All of them in the order of their scores, without pins, caps and diversity; None when that was not
            answered.
    """

    candidates: Candidates
    ranked: Ranked | None

    def find(self, row: int) -> RankedItem | None:
        """What ranking says of a row; None when it does not score it."""
        rows = self.candidates.rows()
        items = () if self.ranked is None else self.ranked.items
        return next((item for item in items if int(rows[item.candidate_index]) == row), None)


def find_candidate(candidates: Candidates, row: int) -> Candidate | None:
    """Looks a row up among the candidates; None when it is none."""
    places = np.flatnonzero(candidates.rows() == row)
    if not len(places):
        return None
    index, scores = int(places[0]), candidates.scores()
    above = int(np.count_nonzero(scores > scores[index])) + int(np.count_nonzero(scores[:index] == scores[index]))
    return Candidate(index, float(scores[index]), above + 1, len(scores))


def catalogue_step(generation: Generation, row: int) -> Step:
    """That the generation has the item."""
    popularity = float(generation.popularity[row])
    words = f"generation {generation.number} has it; its popularity is {popularity:.4g}"
    return Step("catalogue", "generation", Effect.KEPT, words, {"popularity": popularity})


def retrieval_steps(candidates: Candidates, candidate: Candidate) -> Iterator[Step]:
    """Which sources brought a candidate, one step each."""
    ranks = candidates.source_ranks(candidate.index)
    standing = f"; {candidate.rank} of {candidate.count} candidates by its retrieval score of {candidate.score:.4g}"
    numbers = {"score": candidate.score, "rank": float(candidate.rank), "candidate_count": float(candidate.count)}
    for name in candidates.sources(candidate.index) or ("unknown",):
        words = f"{name} brought it" + (f" at {ranks[name]}" if name in ranks else "") + standing
        own = {"source_rank": float(ranks[name])} if name in ranks else {}
        yield Step("retrieval", name, Effect.KEPT, words, {**numbers, **own})
        # Said once.
        numbers, standing = {}, ""


def ranking_step(item: RankedItem, candidate_count: int, weights: Mapping[str, float]) -> Step:
    """Where ranking put an item, by which probabilities."""
    numbers = {"score": item.score, "rank": float(item.ranking_rank), "candidate_count": float(candidate_count)}
    numbers |= {f"action.{name}": float(score) for name, score in item.action_scores.items()}
    words = f"{ranked_step(item.ranking_rank, item.action_scores, weights)} with a score of {item.score:.4g}"
    return Step("ranking", "score", Effect.KEPT, words, numbers)


def not_looked_at(stage: str, reason: str) -> Step:
    """That a stage did not take part, so that nothing is known of what it would have done."""
    return Step(stage, "not looked at", Effect.KEPT, f"{stage} was not looked at: {reason}")


def placed_step(stage: str, rules: Sequence[str], before: int, after: int, numbers: Mapping[str, float]) -> Step:
    """How an item came from one position to another, or stayed.

    Args:
        stage: ``selection`` or ``exploration``.
        rules: What may have done it; the first names the rule.
        before: Its position before, from 1.
        after: Its position after, from 1.
        numbers: Further numbers.
    """
    told = {"from": float(before), "to": float(after), **numbers}
    if before == after:
        return Step(stage, rules[0], Effect.KEPT, f"it keeps position {after}", told)
    words = f"moved from {before} to {after} by {' and '.join(rules)}"
    return Step(stage, rules[0], Effect.MOVED, words, told)


def selection_rules(served: Served, row: int) -> list[str]:
    """What of the request may have moved an item among those selected; ``count`` when nothing could."""
    diversity = served.request.diversity
    if row in served.pinned_rows:
        return ["pinned_item_ids"]
    asked = {
        "diversity": diversity.strength > 0 and served.ranked is not None,
        "caps": bool(diversity.caps),
        "pinned_item_ids": bool(served.pinned_rows),
    }
    return [name for name, is_asked in asked.items() if is_asked] or ["count"]


def standings(served: Served, items: Sequence[RankedItem]) -> list[Standing]:
    """Where selected items stand in the ranking's order of scores."""
    assert served.candidates is not None
    rows, pinned = served.candidates.rows(), frozenset(served.pinned_rows)
    return [
        Standing(item.item_id, row := int(rows[item.candidate_index]), item.ranking_rank, item.score, row in pinned)
        for item in items
    ]


def lost_recommendation(
    item_id: str,
    title: str,
    *,
    candidates: Candidates | None = None,
    candidate: Candidate | None = None,
    ranked: RankedItem | None = None,
    score: float = 0.0,
    retrieval_score: float | None = None,
) -> Recommendation:
    """What is known of an item that was lost: its names and the scores that it got.

    Args:
        item_id: Its id.
        title: Its title.
        candidates: Among which it was.
        candidate: Its place there.
        ranked: What ranking said of it.
        score: What it was ordered by where ranking said nothing.
        retrieval_score: What retrieval said of it when it was asked for by its id; it was no candidate.
    """
    trace = None if retrieval_score is None else Trace(retrieval_score=retrieval_score)
    if candidates is not None and candidate is not None:
        trace = Trace(
            retrieval_score=candidate.score,
            retrieval_rank=candidate.rank,
            ranking_rank=0 if ranked is None else ranked.ranking_rank,
            source_ranks=candidates.source_ranks(candidate.index),
        )
    return Recommendation(
        item_id=item_id,
        score=score if ranked is None else ranked.score,
        title=title,
        action_scores={} if ranked is None else ranked.action_scores,
        sources=() if candidates is None or candidate is None else candidates.sources(candidate.index),
        candidate_rank=0 if candidate is None else candidate.index + 1,
        trace=trace,
        # Nobody was shown it.
        propensity=0.0,
    )
