"""What to do next about the versions of a model: one pure decision, in the two orders that TensorFlow Serving knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """How far a version is, as far as the decision goes."""

    NEW = "new"
    BUSY = "busy"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True)
class HeldVersion:
    """A version as the decision sees it.

    Args:
        number: The version.
        aspired: Whether it should be served.
        phase: NEW before its turn to load, BUSY while it is queued, loads or unloads, READY while it answers, GONE
            when it was unloaded or failed.
    """

    number: int
    aspired: bool
    phase: Phase


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Args:
        loads: True loads the version, False unloads it.
        number: The version.
    """

    loads: bool
    number: int


def preserve_availability(held: Sequence[HeldVersion]) -> Step | None:
    """Loads what is new before the last old version goes: a model that answers keeps answering, at twice its memory.

    Old versions go when nothing is to be served, when something that is to be served is ready, or when there are
    several of them; the lowest first, one at a time. New ones load highest first.
    (tensorflow/serving ``core/availability_preserving_policy.cc``)

    Returns:
        The next step; None when there is nothing to do until a version changes.
    """
    old = [one.number for one in held if one.phase is Phase.READY and not one.aspired]
    aspired = [one for one in held if one.aspired]
    if old and (not aspired or len(old) > 1 or any(one.phase is Phase.READY for one in aspired)):
        return Step(loads=False, number=min(old))
    return _load_highest(aspired)


def preserve_resources(held: Sequence[HeldVersion]) -> Step | None:
    """Unloads what is old before anything new loads: never two versions in memory, and no answer in between.

    (tensorflow/serving ``core/resource_preserving_policy.cc``)

    Returns:
        The next step; None when there is nothing to do until a version changes.
    """
    old = [one.number for one in held if one.phase is Phase.READY and not one.aspired]
    if old:
        return Step(loads=False, number=min(old))
    if any(not one.aspired and one.phase is Phase.BUSY for one in held):
        return None
    return _load_highest(one for one in held if one.aspired)


def _load_highest(aspired: Iterable[HeldVersion]) -> Step | None:
    new = [one.number for one in aspired if one.phase is Phase.NEW]
    return Step(loads=True, number=max(new)) if new else None


class Transition(Enum):
    """The order of loading and unloading. The real server's binary always takes the first."""

    AVAILABILITY = "availability_preserving"
    RESOURCES = "resource_preserving"

    @property
    def next_step(self) -> Callable[[Sequence[HeldVersion]], Step | None]:
        """The decision that belongs to it."""
        return preserve_availability if self is Transition.AVAILABILITY else preserve_resources
