"""Whether an item may be recommended at all: exclusions, what was seen, and the filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.why import Effect, Judgement, Outcome, Step
from twostage.bundle.attributes import Attributes, ValuesColumn
from twostage.bundle.filters import Condition, Filter

_MAX_SHOWN = 5


def exclusion(request: RecommendRequest, person: Person, item_id: str, row: int) -> Judgement | Step:
    """Whether the request or the person's past keeps an item out.

    Args:
        request: What was asked.
        person: What they may not be shown, as the stages were told.
        item_id: The item.
        row: Its row.

    Returns:
        What lost it, or the step that let it through.
    """
    if row not in person.excluded_rows:
        words = "it is not excluded" + (", and what was seen is let through" if request.include_seen else " nor seen")
        return Step("user", "seen", Effect.KEPT, words)
    if item_id in request.exclude_item_ids:
        index = list(request.exclude_item_ids).index(item_id)
        words = f"the request excludes it: exclude_item_ids[{index}]"
        step = Step("user", "exclude_item_ids", Effect.LOST, words, {"index": float(index)})
    elif item_id in request.recent_item_ids:
        index = list(request.recent_item_ids).index(item_id)
        words = f"it counts as seen, for the request's history names it: recent_item_ids[{index}]"
        step = Step("user", "seen", Effect.LOST, words, {"index": float(index)})
    else:
        step = Step("user", "seen", Effect.LOST, "the person has seen it, as the user store remembers")
    return Judgement(Outcome.EXCLUDED, step)


def filtering(condition_filter: Filter, attributes: Attributes, row: int) -> Iterator[Judgement | Step]:
    """What each condition of a filter says of an item, up to the first that does not let it through.

    Args:
        condition_filter: The filter, which retrieval took.
        attributes: The generation's.
        row: The item's row.
    """
    for index, condition in enumerate(condition_filter.conditions):
        # The set that retrieval searches within, made by the same code.
        passes = bool(attributes.rows(Filter((condition,))).has(np.array([row], np.uint32))[0])
        has, numbers = _what_it_has(condition, attributes, row)
        words = f"{condition.attribute}: asked for {_what_is_asked(condition)}, it has {has}"
        step = Step("filter", f"conditions[{index}]", Effect.KEPT if passes else Effect.LOST, words, numbers)
        yield step if passes else Judgement(Outcome.FILTERED, step)
        if not passes:
            return


def _what_it_has(condition: Condition, attributes: Attributes, row: int) -> tuple[str, dict[str, float]]:
    column = attributes.column(condition.attribute)
    if isinstance(column, ValuesColumn):
        values = column.values_of(row)
        return _listed(values) or "no value", {"value_count": float(len(values))}
    number = float(column.numbers[row])
    numbers = {"min": condition.minimum, "max": condition.maximum, "value": None if np.isnan(number) else number}
    # A bound may be infinite, which asks nothing and which JSON cannot say.
    told = {name: float(bound) for name, bound in numbers.items() if bound is not None and np.isfinite(bound)}
    return "no number" if np.isnan(number) else f"{number:g}", told


def _what_is_asked(condition: Condition) -> str:
    asked = []
    if condition.any_of:
        asked.append(f"any of {_listed(condition.any_of)}")
    if condition.none_of:
        asked.append(f"none of {_listed(condition.none_of)}")
    if condition.minimum is not None:
        asked.append(f"at least {condition.minimum:g}")
    if condition.maximum is not None:
        asked.append(f"at most {condition.maximum:g}")
    return " and ".join(asked) or "nothing"


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(values[:_MAX_SHOWN])
    return f"{shown} and {len(values) - _MAX_SHOWN} more" if len(values) > _MAX_SHOWN else shown
