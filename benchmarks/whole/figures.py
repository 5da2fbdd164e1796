"""What is measured of a system, and how it comes from what came back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.whole.answers import FULL, Noted
from benchmarks.whole.generator import Load
from twostage.load.result import REFUSED

OURS = "Twostage"
"""The one whose figures are aimed at something."""
IDLE, STEADY, OVERLOADED, SWAPPING = "idle", "60 % of the knee", "overloaded", "mid-swap"


def percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile in milliseconds, by linear interpolation; NaN of nothing."""
    if not len(seconds):
        return float("nan"), float("nan")
    p50, p99 = np.percentile(np.asarray(seconds, np.float64), [50, 99]) * 1e3
    return float(p50), float(p99)


def cpu_ms(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, float]:
    """Milliseconds of processor time for each of ``count`` answers, by process; NaN where there was no answer."""
    used = {name: max(seconds - before.get(name, 0.0), 0.0) * 1e3 for name, seconds in after.items()}
    return {name: milliseconds / count if count else float("nan") for name, milliseconds in used.items()}


@dataclass
class StateFigures:
    """One system in one state.

    Args:
        state: Which.
        offered: Requests a second; 0 for one at a time.
        request_count: How many were due.
        in_time_share: How many of them were answered before the deadline.
        full_share: How many of them were answered in full before the deadline.
        p50_ms: Of the answers, from when a request was due.
        p99_ms: Likewise.
        cpu_ms: Processor time for each answer, by process.
        exact_share: How many answers were exactly what was asked for.
        consistent_share: In how many what came and what is said to be missing add up.
        degraded_share: How many answers stood on a low rung; None where there are no rungs.
        errors: How many failed, by status; refusals included.
        generations: How many answers of each generation.
        latest_start_ms: The most that the generator was late.
    """

    state: str
    offered: float
    request_count: int
    in_time_share: float
    full_share: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    exact_share: float
    consistent_share: float
    degraded_share: float | None
    errors: dict[str, int] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=dict)
    latest_start_ms: float = 0.0

    @property
    def total_cpu_ms(self) -> float:
        """Of all processes."""
        return sum(self.cpu_ms.values())

    @property
    def refused_count(self) -> int:
        """How many were refused at once."""
        return self.errors.get(REFUSED, 0)


@dataclass
class Swap:
    """A generation that is published under load.

    Args:
        seconds: From CURRENT to the first answer of the new generation.
        mixed_count: Answers of a third generation, or of the old one after the new one was there for a second.
        timeline: For each answer when it was due, in seconds from CURRENT, its latency in ms, and its generation.
    """

    seconds: float
    mixed_count: int
    timeline: list[tuple[float, float, int]]


@dataclass
class SystemFigures:
    """One system over one catalogue.

    Args:
        name: The system's.
        item_count: The catalogue's.
        start_seconds: From the first process's start until it serves.
        knee: Requests a second at the knee.
        steps: The rates that were tried, and the goodput of each.
        recall: The mean share of the exact nearest unseen items that are among the candidates.
        filtered_exact_share: How many answers to requests with filters were exactly what was asked for.
        fresh_idle_ms: From recording an event to an answer that knows of it, p50 and p99, one at a time.
        fresh_steady_ms: The same at 60 % of the knee.
        floors: The floor's figures before it and after it.
        states: By state.
        swap: Where it can be done.
        failure: Why not everything was measured; empty when all was.
    """

    name: str
    item_count: int
    start_seconds: float = 0.0
    knee: float = 0.0
    steps: list[tuple[float, float]] = field(default_factory=list)
    recall: float = float("nan")
    filtered_exact_share: float = float("nan")
    fresh_idle_ms: tuple[float, float] = (float("nan"), float("nan"))
    fresh_steady_ms: tuple[float, float] = (float("nan"), float("nan"))
    floors: list[dict[str, dict[str, float]]] = field(default_factory=list)
    states: dict[str, StateFigures] = field(default_factory=dict)
    swap: Swap | None = None
    failure: str = ""

    @property
    def floor_cpu_ms(self) -> float:
        """The floor's processor time, the mean of before and after; NaN where it was not measured."""
        return float(np.mean([floor["whole"]["cpu_ms"] for floor in self.floors])) if self.floors else float("nan")

    @property
    def floor_wall_ms(self) -> float:
        """The floor's wall time likewise."""
        return float(np.mean([floor["whole"]["wall_ms"] for floor in self.floors])) if self.floors else float("nan")

    def times_floor(self, state: str) -> float:
        """Processor time of an answer in a state, as a multiple of the floor's."""
        return self.states[state].total_cpu_ms / self.floor_cpu_ms

    def as_json(self) -> dict[str, Any]:
        """All figures; JSON knows no NaN, so what was not measured is null."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def loaded_figures(
    state: str, load: Load, cpu: dict[str, float], answers: Sequence[Noted] | None = None, *, has_rungs: bool
) -> StateFigures:
    """The figures of a load.

    Args:
        state: Its name.
        load: What came of it.
        cpu: Processor seconds by process, all of the load's.
        answers: Those to look at, e.g. those of a span; all when None.
        has_rungs: Whether an answer names its rung.
    """
    result = load.result
    looked_at = load.answers if answers is None else answers
    p50, p99 = percentiles_ms([answer.latency for answer in looked_at])
    in_time = [answer for answer in load.answers if answer.latency <= result.timeout_seconds]
    generations = [answer.generation for answer in looked_at]
    return StateFigures(
        state=state,
        offered=result.rate,
        request_count=result.due_count,
        in_time_share=len(in_time) / result.due_count,
        full_share=sum(answer.rung == FULL for answer in in_time) / result.due_count,
        p50_ms=p50,
        p99_ms=p99,
        cpu_ms=cpu_ms({}, cpu, len(load.answers)),
        exact_share=_share([answer.exact for answer in looked_at]),
        consistent_share=_share([answer.consistent for answer in looked_at]),
        degraded_share=_share([answer.rung != FULL for answer in looked_at]) if has_rungs else None,
        errors=result.errors,
        generations={number: generations.count(number) for number in sorted(set(generations))},
        latest_start_ms=result.latest_start_seconds * 1e3,
    )


def swap_of(load: Load, published: float, old: int, new: int) -> Swap | None:
    """What a swap was like; None when no answer of the new generation came.

    Args:
        load: The load under which it happened.
        published: When CURRENT moved, by ``time.perf_counter``.
        old: The generation before.
        new: The one after.
    """
    ended = [answer.due + answer.latency for answer in load.answers if answer.generation == new]
    if not ended:
        return None
    first = min(ended)
    mixed = [
        answer
        for answer in load.answers
        if answer.generation not in (old, new) or (answer.generation == old and answer.due > first + 1.0)
    ]
    timeline = [(answer.due - published, answer.latency * 1e3, answer.generation) for answer in load.answers]
    return Swap(first - published, len(mixed), sorted(timeline))


def _share(marks: Sequence[bool]) -> float:
    return sum(marks) / len(marks) if marks else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
