"""The ladder: how much of the system answers, and what makes a request go a rung lower.

An answer on a low rung beats an error, and an error beats a lie: every step down carries its reason to the caller.
"""

from __future__ import annotations

from enum import Enum


class Rung(Enum):
    """How much of the system answered, the best first; names as in the contract."""

    FULL = 1
    """Both stages answered."""
    FEWER_CANDIDATES = 2
    """Both stages answered, over fewer candidates than configured."""
    RETRIEVAL_ORDER = 3
    """Ranking was late or down: the candidates in retrieval's order."""
    CACHED = 4
    """Retrieval was late or down: an earlier answer for the same person, obeying what is asked now."""
    POPULAR = 5
    """Retrieval was late or down: popular items from the gateway's own copy of the catalogue."""


class StageFailure(Exception):
    """A stage did not answer a request; the request goes a rung lower.

    Args:
        stage: ``retrieval`` or ``ranking``.
        why: What happened, in a few words that a caller may read.
        detail: What only operators should read, e.g. addresses; empty when there is nothing more to say.
    """

    kind = "failed"

    def __init__(self, stage: str, why: str, detail: str = "") -> None:
        super().__init__(f"{stage} {self.kind}: {why}")
        self.stage = stage
        self.why = why
        self.detail = detail

    @property
    def reason(self) -> str:
        """What the caller is told, e.g. ``ranking late: no answer within 420 ms``."""
        return str(self.args[0])


class StageUnavailable(StageFailure):
    """The stage cannot be reached, refuses work, or broke while it worked."""

    kind = "unavailable"


class StageOverloaded(StageUnavailable):
    """The stage refused work because it has too much; it is there, and asking it less is somebody else's task."""


class StageResting(StageFailure):
    """The stage was not asked, because what it was asked lately failed; see `gateway.engine.breaker`."""

    kind = "resting"


class StageLate(StageFailure):
    """The stage did not answer in its time, or there was too little time left to ask it."""

    kind = "late"


class StageWithoutGeneration(StageFailure):
    """The stage was asked for a generation that it does not hold; it may be asked once more for another."""

    kind = "unavailable"


class NoCommonGeneration(StageFailure):
    """No generation is held by the gateway and by the stage, or by both stages, as far as anybody knows."""

    kind = "unavailable"
