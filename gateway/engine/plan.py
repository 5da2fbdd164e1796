"""How one request is answered: what the gateway's settings say, with what the request's experiments override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Arm(NamedTuple):
    """An experiment's arm that a request is in."""

    experiment: str
    arm: str


@dataclass(frozen=True, slots=True)
class Exploration:
    """How much is shown to learn from instead of because it is best.

    Args:
        epsilon: The probability with which an explored position gets an item by chance, 0..1; 0 explores nothing.
        share: The part of an answer's positions that may be explored, 0..1, counted from its end.
        pool_count: By chance means: evenly among this many items that follow the answer in the ranking.
    """

    epsilon: float = 0.0
    share: float = 0.2
    pool_count: int = 50


NO_EXPLORATION = Exploration()
"""Nothing is shown by chance."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What of ranking and selection an arm says otherwise; what the request itself states always wins.

    Args:
        ranker: A ranker of the bundle; empty leaves it.
        blend: Weights by action; empty leaves them.
        diversity_strength: 0..1; None leaves it.
    """

    ranker: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)
    diversity_strength: float | None = None


NO_OVERRIDES = Overrides()
"""Everything as the request and the bundle have it."""


class Rival(NamedTuple):
    """One of two rankings that are interleaved; ``arm`` is the one whose ranking it is."""

    arm: str
    overrides: Overrides


@dataclass(frozen=True, slots=True)
class Plan:
    """How one request is answered.

    Args:
        candidate_count: How many candidates retrieval is asked for, 1..2,000; never fewer than the request's own count.
        source_quotas: The most candidates by source, by the sources' names; those that are absent are not bounded.
        overrides: Of ranking and selection.
        generation: Answer from this generation when it is held by all; None leaves the choice as it is.
        exploration: What is shown by chance.
        rivals: Two rankings of the same candidates to be interleaved (team draft); empty for one ranking.
        arms: The arms that the request is in.
    """

    candidate_count: int = 500
    source_quotas: Mapping[str, int] = field(default_factory=dict)
    overrides: Overrides = NO_OVERRIDES
    generation: int | None = None
    exploration: Exploration = NO_EXPLORATION
    rivals: Sequence[Rival] = ()
    arms: Sequence[Arm] = ()
