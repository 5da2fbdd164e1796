"""Whether an answer that was made once more is the one that was logged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.engine.response import Recommendation
from training.replay.remade import Remade
from twostage.impressions.impression import Impression

EPSILON = 1e-5
"""Scores may differ by so much: processors, and models fed with other batches, round differently."""


class Verdict(Enum):
    """What replay found."""

    SAME = "same"
    """The same items in the same order, with the same scores within the epsilon."""
    NEARLY = "near ties"
    """Items whose scores differ by no more than the epsilon changed places; nothing else differs."""
    DIFFERENT = "different"
    """Something else differs."""
    NOT_REPLAYED = "not replayed"
    """It could not be made again."""


@dataclass(frozen=True)
class Judgement:
    """What replay found of one answer.

    Args:
        verdict: In a word.
        reasons: What differs, stage by stage, or why it could not be made; empty when nothing does.
        largest_difference: Between a logged score and the same item's new one.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    largest_difference: float = 0.0


def judge(impression: Impression, remade: Remade, epsilon: float = EPSILON) -> Judgement:
    """Compares item by item.

    Args:
        impression: As logged.
        remade: As made now.
        epsilon: By how much scores may differ.
    """
    recommendations, shortfall = remade.answer
    reasons: list[str] = []
    if remade.found:
        reasons.append(f"retrieval: {remade.found}")
    if remade.ranker and remade.ranker != impression.ranker:
        reasons.append(f"ranking: by {remade.ranker} instead of {impression.ranker or 'no ranker'}")
    new_ids, ids = [item.item_id for item in recommendations], list(impression.item_ids)
    new_scores = [item.score for item in recommendations]
    swapped = False
    if len(new_ids) != len(ids):
        reasons.append(f"answer: {len(new_ids)} items instead of {len(ids)}")
    elif new_ids != ids:
        # Counted scores, and none at all, tie by rule and not by rounding.
        is_computed = impression.rung not in ("POPULAR", "CACHED") and any(impression.scores)
        place = _first_change(ids, impression.scores, new_ids, new_scores, epsilon if is_computed else -1.0)
        swapped = place is None
        if place is not None:
            reasons.append(
                f"{_maker(impression)}: at position {place + 1} {new_ids[place]} ({new_scores[place]:.7g}) "
                f"instead of {ids[place]} ({impression.scores[place]:.7g})"
            )
    largest, where = _largest_difference(impression, recommendations)
    if largest > epsilon:
        reasons.append(f"scores: {where} differs by {largest:.3g}")
    if not swapped and new_ids == ids:
        reasons.extend(_other_differences(impression, recommendations))
    missing = (0, "") if shortfall is None else (shortfall.missing_count, shortfall.reason.name)
    if missing != (impression.missing_count, impression.missing_reason):
        reasons.append(
            f"shortfall: {_shortfall(*missing)} instead of "
            f"{_shortfall(impression.missing_count, impression.missing_reason)}"
        )
    # Other candidates than then that lead to the same answer are worth telling, and no other answer.
    if any(not reason.startswith("retrieval: ") for reason in reasons):
        return Judgement(Verdict.DIFFERENT, tuple(reasons), largest)
    return Judgement(Verdict.NEARLY if swapped else Verdict.SAME, tuple(reasons), largest)


def _maker(impression: Impression) -> str:
    """The stage that an answer's order comes from."""
    if impression.rivals:
        return "ranking or interleaving"
    if impression.exploration_epsilon > 0:
        return "ranking or exploration"
    return {"RETRIEVAL_ORDER": "retrieval", "POPULAR": "popular items", "CACHED": "earlier answer"}.get(
        impression.rung, "ranking"
    )


def _first_change(
    ids: Sequence[str], scores: Sequence[float], new_ids: Sequence[str], new_scores: Sequence[float], epsilon: float
) -> int | None:
    """The first position whose item changed for more than a near tie's sake; None when there is none."""
    logged, new = dict(zip(ids, scores, strict=True)), dict(zip(new_ids, new_scores, strict=True))
    for place, (item, new_item) in enumerate(zip(ids, new_ids, strict=True)):
        # An item that only one of the two has stood, or would have stood, just below the last place.
        apart = (
            logged.get(new_item, scores[-1]) - scores[place],
            new.get(item, new_scores[-1]) - new_scores[place],
            new_scores[place] - scores[place],
        )
        if item != new_item and max(map(abs, apart)) > epsilon:
            return place
    return None


def _largest_difference(impression: Impression, recommendations: Sequence[Recommendation]) -> tuple[float, str]:
    new = {item.item_id: item for item in recommendations}
    largest, where = 0.0, ""
    for place, item_id in enumerate(impression.item_ids):
        item = new.get(item_id)
        if item is None:
            continue
        pairs = [("the score", impression.scores[place], item.score)]
        pairs += [
            (f"the probability of {action}", logged, item.action_scores.get(action, math.nan))
            for action, logged in _action_scores(impression, place).items()
        ]
        for name, logged, now in pairs:
            difference = abs(logged - now) if not math.isnan(now) else math.inf
            if difference > largest:
                largest, where = difference, f"{name} of {item_id} at position {place + 1}"
    return largest, where


def _action_scores(impression: Impression, place: int) -> Mapping[str, float]:
    width = len(impression.actions)
    scores = impression.action_scores[place * width : (place + 1) * width]
    return {
        action: float(score) for action, score in zip(impression.actions, scores, strict=True) if not math.isnan(score)
    }


def _other_differences(impression: Impression, recommendations: Sequence[Recommendation]) -> list[str]:
    found = []
    for place, item in enumerate(recommendations):
        if not math.isclose(item.propensity, impression.propensities[place], rel_tol=1e-9):
            found.append(
                f"exploration: propensity {item.propensity:.6g} instead of {impression.propensities[place]:.6g} "
                f"at position {place + 1}"
            )
        if item.team != impression.teams[place]:
            found.append(
                f"interleaving: team {item.team or 'none'} instead of {impression.teams[place] or 'none'} "
                f"at position {place + 1}"
            )
    return found[:1]


def _shortfall(missing_count: int, reason: str) -> str:
    return f"{missing_count} missing ({reason})" if missing_count else "nothing missing"
