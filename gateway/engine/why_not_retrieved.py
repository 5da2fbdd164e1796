"""Why an item that passes all rules was no candidate, and what would have become of it as one."""

from __future__ import annotations

import numpy as np

from gateway.engine.stages import Candidates
from gateway.engine.why import Effect, Judgement, Outcome, Step
from gateway.engine.why_stages import SecondLook, find_candidate
from twostage.bundle.generation import Generation

_LEADERS = ("user_vector", "interest_tags", "popular")
"""The sources that fill what the others leave, those that know most of a person first."""

_INCLUDED = "included"


def why_not_retrieved(
    candidates: Candidates, included: SecondLook | None, generation: Generation, row: int
) -> Judgement:
    """Compares an item with the candidates.

    Args:
        candidates: Among which the item was not.
        included: The same asked again with the item among the candidates by its id; None when that was not answered.
            What it says of the item is counterfactual, and labelled so.
        generation: Whose items they are.
        row: The item's row.
    """
    leader = _leader(candidates)
    numbers = {"candidate_count": float(len(candidates))}
    if not len(candidates):
        words = "retrieval found no candidate at all"
        return Judgement(Outcome.NOT_RETRIEVED, Step("retrieval", leader, Effect.LOST, words, numbers))
    if leader == _INCLUDED:
        rule, told = "pinned_item_ids", f"pinned items took all {len(candidates)} places among the candidates"
    else:
        rule = leader
        told = _by_score(candidates, leader, included, row, numbers)
        told = told or _by_popularity(candidates, leader, generation, row, numbers)
    words = f"{told}; {_had_it_been_one(included, row, numbers)}"
    return Judgement(Outcome.NOT_RETRIEVED, Step("retrieval", rule, Effect.LOST, words, numbers))


def _leader(candidates: Candidates) -> str:
    found = {name for index in range(len(candidates)) for name in candidates.sources(index)}
    return next((name for name in _LEADERS if name in found), _INCLUDED if found == {_INCLUDED} else _LEADERS[-1])


def _by_score(
    candidates: Candidates, leader: str, included: SecondLook | None, row: int, numbers: dict[str, float]
) -> str:
    """How its retrieval score compares; empty where there is no user vector or it is not known."""
    if included is None or not candidates.scores().any():
        return ""
    own = find_candidate(included.candidates, row)
    if own is None:
        return ""
    scores = candidates.scores()
    from_leader = np.array([leader in candidates.sources(index) for index in range(len(candidates))])
    least = float(scores[from_leader].min()) if from_leader.any() else float(scores.min())
    numbers |= {
        "score": own.score,
        "least_candidate_score": float(scores.min()),
        f"least_{leader}_score": least,
        "better_candidate_count": float(np.count_nonzero(scores > own.score)),
    }
    told = f"its retrieval score is {own.score:.4g}, and {least:.4g} the least of a candidate that {leader} brought"
    if own.score > least:
        return f"{told}: the index is approximate or bounded, and did not find it"
    return told


def _by_popularity(
    candidates: Candidates, leader: str, generation: Generation, row: int, numbers: dict[str, float]
) -> str:
    own = float(generation.popularity[row])
    rows = candidates.rows()
    from_leader = [int(rows[index]) for index in range(len(candidates)) if leader in candidates.sources(index)]
    least = float(generation.popularity[from_leader].min()) if from_leader else 0.0
    numbers |= {"popularity": own, f"least_{leader}_popularity": least}
    return f"its popularity is {own:.4g}, and {least:.4g} the least of a candidate that {leader} brought"


def _had_it_been_one(included: SecondLook | None, row: int, numbers: dict[str, float]) -> str:
    """What ranking says of it as a candidate, which it was not."""
    if included is None or included.ranked is None:
        return "what ranking would have said of it was not looked at"
    item = included.find(row)
    if item is None:
        return "ranking did not score it though it was asked to"
    count = len(included.candidates)
    numbers |= {"if_retrieved.score": item.score, "if_retrieved.rank": float(item.ranking_rank)}
    numbers |= {f"if_retrieved.action.{name}": float(score) for name, score in item.action_scores.items()}
    return (
        f"had it been one, ranking would have scored it {item.score:.4g} and put it at {item.ranking_rank} of {count}"
    )
