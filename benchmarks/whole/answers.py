"""What is asked, what came, and whether it is exactly what was asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

COUNT = 20
"""Items asked for, as the contract has it by default."""
CANDIDATE_COUNT = 500
"""Candidates that are ranked, as the gateway has it by default."""
FULL = "RUNG_FULL"
"""The rung of a whole answer. The peers know no other."""


class Wanted(NamedTuple):
    """A filter: items that have a value of an attribute."""

    attribute: str
    value: str


class Asked(NamedTuple):
    """One request for `COUNT` items.

    Args:
        user_id: Whose.
        seen: Ids that may not be among them.
        wanted: The filter, if any.
    """

    user_id: str
    seen: frozenset[str] = frozenset()
    wanted: Wanted | None = None


class Answer(NamedTuple):
    """One answer.

    Args:
        item_ids: Best first.
        missing_count: How many the answer says are missing.
        rung: The rung's name.
        generation: Which answered, 0 where nobody says.
    """

    item_ids: Sequence[str]
    missing_count: int = 0
    rung: str = FULL
    generation: int = 0


class Noted(NamedTuple):
    """What a generator keeps of an answer.

    Args:
        due: When it was due, by ``time.perf_counter``.
        latency: Seconds from then.
        exact: Whether it was exactly what was asked for.
        consistent: Whether its length and what it says is missing add up to the count.
        rung: The rung's name.
        generation: Which answered, 0 where nobody says.
    """

    due: float
    latency: float
    exact: bool
    consistent: bool
    rung: str
    generation: int


def is_exact(asked: Asked, answer: Answer, allowed: Collection[str] | None = None) -> bool:
    """Whether an answer holds `COUNT` distinct items, none of them seen, all of them allowed.

    It is asked only where so many items remain, so that a shortfall is never right.

    Args:
        asked: The request.
        answer: Its answer.
        allowed: What the filter lets through; None lets everything.
    """
    distinct = set(answer.item_ids)
    return (
        len(answer.item_ids) == len(distinct) == COUNT
        and not answer.missing_count
        and not distinct & asked.seen
        and (allowed is None or all(item_id in allowed for item_id in distinct))
    )


def is_consistent(answer: Answer) -> bool:
    """Whether what came and what is said to be missing add up to what was asked for."""
    return len(answer.item_ids) + answer.missing_count == COUNT


def noted(asked: Asked, answer: Answer, due: float, latency: float) -> Noted:
    """What is kept of an answer."""
    exact, consistent = is_exact(asked, answer), is_consistent(answer)
    return Noted(due, latency, exact, consistent, answer.rung, answer.generation)
