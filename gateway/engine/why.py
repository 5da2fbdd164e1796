"""What became of an item, and the steps that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from gateway.engine.ladder import Rung
from gateway.engine.plan import Arm
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation

_NO_NUMBERS: Mapping[str, float] = MappingProxyType({})


class Outcome(Enum):
    """What became of an item; names as in the contract."""

    RECOMMENDED = 1
    """It is in the answer."""
    EXCLUDED = 2
    """It may not be recommended: excluded by the request, or seen already."""
    FILTERED = 3
    """The filter does not let it through."""
    NOT_RETRIEVED = 4
    """It passes all rules and was no candidate."""
    OUTRANKED = 5
    """It was a candidate, and its score was too low."""
    PASSED_OVER = 6
    """Its score was high enough, and pins, a cap, diversity or exploration gave its place to another."""


class Effect(Enum):
    """What a step did to an item; names as in the contract."""

    KEPT = 1
    MOVED = 2
    LOST = 3


class Step(NamedTuple):
    """What one stage's rule did to an item.

    Args:
        stage: ``catalogue``, ``user``, ``filter``, ``retrieval``, ``ranking``, ``selection``, ``exploration`` or
            ``answer``.
        rule: The rule, e.g. ``seen``, ``conditions[0]``, ``score``.
        effect: Whether the item stayed, moved, or was lost here.
        words: What happened, in a sentence.
        numbers: The numbers behind it, by name.
    """

    stage: str
    rule: str
    effect: Effect
    words: str
    numbers: Mapping[str, float] = _NO_NUMBERS


class Judgement(NamedTuple):
    """What lost an item, and the step that says so, which is its last."""

    outcome: Outcome
    step: Step


@dataclass(frozen=True, slots=True)
class ItemQuestion:
    """Asks why an item is where it is.

    Args:
        request: What was asked, or would be.
        item_id: Which item, 1..256 bytes.
    """

    request: RecommendRequest
    item_id: str


@dataclass(frozen=True, slots=True)
class Why:
    """Why an item is where it is.

    Args:
        request_id: Names the answer that was made to find out.
        generation: The generation of everything that answered.
        rung: How much of the system answered.
        outcome: What became of the item.
        steps: What was done to it, in order; the last one of a lost item is the one that lost it, and no other is.
        recommendation: As in the answer; of a lost item what is known of it.
        position: Its position in the answer, from 1; 0 when it is not there.
        rung_reason: Why the rung is not FULL; empty when it is.
        arms: The arms that the request was in.
    """

    request_id: str
    generation: int
    rung: Rung
    outcome: Outcome
    steps: Sequence[Step]
    recommendation: Recommendation
    position: int = 0
    rung_reason: str = ""
    arms: Sequence[Arm] = field(default_factory=tuple)

    @property
    def lost_by(self) -> str:
        """The stage and the rule that lost it, e.g. ``filter: conditions[0]``; empty when it was recommended."""
        last = self.steps[-1]
        return f"{last.stage}: {last.rule}" if last.effect is Effect.LOST else ""
