"""One answer with all that it was made from, for whoever keeps a record of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.engine.person import Person
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse
from gateway.engine.stages import Candidates, Ranked


@dataclass(frozen=True, slots=True)
class Served:
    """An answer to Recommend and what it was made from.

    Args:
        request: What was asked, as the stages were asked it: with the plan's overrides in place.
        plan: How it was answered.
        person: Whose history it was and what they may not be shown, in rows of the response's generation.
        pinned_rows: What was asked to stand first.
        candidates: As retrieval gave them; None when it did not.
        ranked: As ranking gave them, with what exploration may choose among; None when it did not.
        response: What the caller gets.
        unix_seconds: When it was answered.
    """

    request: RecommendRequest
    plan: Plan
    person: Person
    pinned_rows: Sequence[int]
    candidates: Candidates | None
    ranked: Ranked | None
    response: RecommendResponse
    unix_seconds: float


class Recorder(Protocol):
    """Keeps records of answers."""

    def note(self, served: Served) -> None:
        """Takes an answer; never waits and never raises: what cannot be taken is counted as dropped."""


class NoRecorder:
    """Keeps nothing."""

    def note(self, served: Served) -> None:
        """Forgets it."""
        del served
