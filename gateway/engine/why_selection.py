"""Why an item that could be chosen was not: its score, or the pins, caps and unlikeness that stand over scores.

Whatever orders the items (the ranker, retrieval alone, or popularity), the selection walks down that order: pinned
items first, then each that no cap refuses, until there are as many as asked for; with a diversity strength it takes the
most worthwhile next instead. So from the order and from what was kept follows what lost an item:

- Some kept item stands below it in the order, or places stayed empty: it was its turn and it was refused. A cap did it
  when one of its values was full by then; unlikeness did otherwise. With a strength and a full value both may have
  had a part, and the cap is named: from where the value was full, it had no place whatever its worth.
- Nothing kept stands below it: its score was too low, unless it stands among the first as many as asked for; then pins
  took its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.engine.why import Effect, Judgement, Outcome, Step
from twostage.bundle.attributes import Attributes, ValuesColumn
from twostage.features.diversity import Cap, Diversity

_MAX_SHOWN = 5


class Standing(NamedTuple):
    """An item in the order that the selection walks down.

    Args:
        item_id: Its id.
        row: Its row.
        rank: Its place in the order, from 1.
        score: What the order is by.
        pinned: True when it was pinned.
    """

    item_id: str
    row: int
    rank: int
    score: float
    pinned: bool = False


def why_not_selected(
    item: Standing,
    kept: Sequence[Standing],
    count: int,
    diversity: Diversity,
    attributes: Attributes,
    *,
    stage: str,
    score_name: str,
) -> Judgement:
    """Finds out what lost an item.

    Args:
        item: The item, which is not kept.
        kept: What the selection took, in the answer's order.
        count: How many were asked for.
        diversity: As it was applied: of strength 0 where nobody could.
        attributes: The generation's.
        stage: The stage whose scores they are.
        score_name: What the scores are, e.g. ``retrieval score``.
    """
    chosen = [each for each in kept if not each.pinned]
    below = [each for each in chosen if each.rank > item.rank]
    numbers = {"score": item.score, "rank": float(item.rank), "count": float(count)}
    if chosen:
        numbers["least_score_kept"] = min(each.score for each in chosen)
    standing = f"its {score_name} of {item.score:.4g} puts it at {item.rank}"
    if below or len(kept) < count:
        by_cap = next(_full_caps(item, kept, diversity, attributes), None)
        if by_cap is not None:
            step = Step("selection", by_cap.rule, Effect.LOST, f"{standing}, but {by_cap.words}", by_cap.numbers)
            return Judgement(Outcome.PASSED_OVER, step._replace(numbers={**numbers, **by_cap.numbers}))
        if diversity.strength > 0 and below:
            numbers |= {"strength": diversity.strength, "taken_from_below_count": float(len(below))}
            words = f"{standing}, but {len(below)} that score less and are less like the others were taken instead"
            return Judgement(Outcome.PASSED_OVER, Step("selection", "diversity", Effect.LOST, words, numbers))
    elif item.rank <= count and len(chosen) < len(kept):
        numbers["pinned_count"] = float(len(kept) - len(chosen))
        words = f"{standing}, but {len(kept) - len(chosen)} of {count} places went to pinned items"
        return Judgement(Outcome.PASSED_OVER, Step("selection", "pinned_item_ids", Effect.LOST, words, numbers))
    least = f", and {numbers['least_score_kept']:.4g} was the least that was kept" if chosen else ""
    return Judgement(Outcome.OUTRANKED, Step(stage, "score", Effect.LOST, f"{standing}{least}", numbers))


class _FullCap(NamedTuple):
    rule: str
    words: str
    numbers: dict[str, float]


def _full_caps(
    item: Standing, kept: Sequence[Standing], diversity: Diversity, attributes: Attributes
) -> Iterator[_FullCap]:
    """The caps of which a value that the item has was full when its turn came."""
    # With a strength whoever was taken may have been taken before it.
    before = kept if diversity.strength > 0 else [each for each in kept if each.pinned or each.rank < item.rank]
    for cap in diversity.caps:
        column = attributes.column(cap.attribute)
        assert isinstance(column, ValuesColumn), "the request was refused otherwise"
        for value in column.values_of(item.row):
            holders = [each for each in before if value in column.values_of(each.row)]
            if len(holders) >= cap.max_count:
                yield _full(cap, value, holders)


def _full(cap: Cap, value: str, holders: Sequence[Standing]) -> _FullCap:
    shown = ", ".join(each.item_id for each in holders[:_MAX_SHOWN])
    more = f" and {len(holders) - _MAX_SHOWN} more" if len(holders) > _MAX_SHOWN else ""
    return _FullCap(
        f"cap {cap.attribute}",
        f"at most {cap.max_count} may share {cap.attribute} {value}, as {shown}{more} already",
        {"max_count": float(cap.max_count), "sharing_count": float(len(holders))},
    )
