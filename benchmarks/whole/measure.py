"""Measures one system: idle, at 60 % of its knee, overloaded, and while a generation is published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from benchmarks.whole.answers import FULL, Asked, is_consistent, is_exact
from benchmarks.whole.figures import (
    IDLE,
    OVERLOADED,
    STEADY,
    SWAPPING,
    StateFigures,
    SystemFigures,
    cpu_ms,
    loaded_figures,
    percentiles_ms,
    swap_of,
)
from benchmarks.whole.freshness import freshness
from benchmarks.whole.generator import Generator, Load, joined
from benchmarks.whole.people import Audience
from benchmarks.whole.settling import settle, until
from benchmarks.whole.systems import NotAnswered, System
from twostage.load.saturation import find_saturation

STEADY_SHARE = 0.6
_AFTER_SWAP_SECONDS = 5.0
_MOST_SWAP_SECONDS = 120.0
_LEAST_RATE = 1.0


@dataclass(frozen=True)
class Plan:
    """How long everything takes.

    Args:
        idle_count: Requests one at a time.
        recall_count: People whose candidates are compared with an exact search.
        filtered_count: Requests with filters.
        event_count: Events, idle and again under load.
        step_seconds: Of each rate that is tried.
        steady_seconds: At 60 % of the knee.
        overload_seconds: Overloaded.
        overload_times: How many times the knee an overload is.
        swap_seconds: Before CURRENT moves; the load goes on until the new generation has answered for 5 s.
        timeout_seconds: Each request's deadline.
    """

    idle_count: int = 400
    recall_count: int = 100
    filtered_count: int = 100
    event_count: int = 100
    step_seconds: float = 3.0
    steady_seconds: float = 16.0
    overload_seconds: float = 8.0
    overload_times: float = 2.5
    swap_seconds: float = 5.0
    timeout_seconds: float = 0.5

    @classmethod
    def quick(cls) -> Plan:
        """A trial, whose figures mean little."""
        return cls(60, 20, 20, 10, 1.0, 4.0, 3.0, 2.5, 2.0)


def measure(
    system: System,
    audience: Audience,
    generator: Generator,
    plan: Plan,
    figures: SystemFigures,
    say: Callable[[str], None],
) -> None:
    """Measures a system that serves.

    Args:
        system: It was started.
        audience: Who asks.
        generator: Sends to it.
        plan: How long everything takes.
        figures: What is measured is put there.
        say: Told what is being done.
    """
    say("warming up")
    for person in audience.asking[:100]:
        system.ask(person.asked)
    generator.run(rate=20.0, seconds=1.0, timeout_seconds=plan.timeout_seconds)
    say("recall and filters")
    figures.recall = _recall(system, audience, plan.recall_count)
    figures.filtered_exact_share = _filtered(system, audience, plan.filtered_count)
    say(IDLE)
    figures.states[IDLE] = idle = _idle(system, audience, plan.idle_count)
    action = taste_action(audience)
    events = freshness(system, audience.acting, action, plan.event_count)
    figures.fresh_idle_ms = percentiles_ms(events)
    usual = idle.p50_ms / 1e3
    asked = audience.asking[0].asked

    def goodput(rate: float) -> float:
        say(f"looking for the knee, {rate:.0f} a second")
        load = generator.run(rate=rate, seconds=plan.step_seconds, timeout_seconds=plan.timeout_seconds)
        settle(system, asked, usual)
        return load.result.goodput(generator.target.whole)

    found = find_saturation(goodput, first_rate=max(0.5 / usual, _LEAST_RATE))
    figures.knee, figures.steps = found.rate, list(found.steps)
    # Where not even the least rate was kept up with, that is what is offered.
    knee = max(found.rate, _LEAST_RATE)
    say(STEADY)
    figures.states[STEADY] = _loaded(system, generator, plan, STEADY, STEADY_SHARE * knee, plan.steady_seconds)
    settle(system, asked, usual)
    say("events at 60 % of the knee")
    pending = _begin(generator, plan, STEADY_SHARE * knee, plan.steady_seconds / 2)
    events = _until_done(lambda: freshness(system, audience.acting, action, 1), pending)
    figures.fresh_steady_ms = percentiles_ms(events)
    settle(system, asked, usual)
    if system.can_swap:
        say(SWAPPING)
        _swap(system, generator, plan, STEADY_SHARE * knee, figures, asked)
        settle(system, asked, usual)
    say(OVERLOADED)
    rate = plan.overload_times * knee
    figures.states[OVERLOADED] = _loaded(system, generator, plan, OVERLOADED, rate, plan.overload_seconds)


def taste_action(audience: Audience) -> str:
    """An action that says "more like that" whatever its value is."""
    actions = audience.generation.manifest.action_schema.actions
    return next(action.source for action in actions if action.taste and action.min_value is None)


def _recall(system: System, audience: Audience, count: int) -> float:
    people = audience.asking[:count]
    users, least = audience.exact_scores(people)
    shares = [
        audience.recall(person, user, float(score), system.candidates(person))
        for person, user, score in zip(people, users, least, strict=True)
    ]
    return float(np.mean(shares))


def _filtered(system: System, audience: Audience, count: int) -> float:
    pairs = audience.filtered(count)
    exact = [is_exact(asked, system.ask(asked), allowed) for asked, allowed in pairs]
    return sum(exact) / len(exact) if exact else float("nan")


def _idle(system: System, audience: Audience, count: int) -> StateFigures:
    before = system.cpu_seconds()
    latencies, exact, consistent, degraded = [], 0, 0, 0
    for position in range(count):
        asked = audience.asking[position % len(audience.asking)].asked
        started = time.perf_counter()
        answer = system.ask(asked)
        latencies.append(time.perf_counter() - started)
        exact += is_exact(asked, answer)
        consistent += is_consistent(answer)
        degraded += answer.rung != FULL
    used = cpu_ms(before, system.cpu_seconds(), count)
    p50, p99 = percentiles_ms(latencies)
    return StateFigures(
        state=IDLE,
        offered=0.0,
        request_count=count,
        in_time_share=1.0,
        full_share=1 - degraded / count,
        p50_ms=p50,
        p99_ms=p99,
        cpu_ms=used,
        exact_share=exact / count,
        consistent_share=consistent / count,
        degraded_share=degraded / count if system.has_rungs else None,
    )


def _begin(generator: Generator, plan: Plan, rate: float, seconds: float) -> Future[Load]:
    return generator.begin(rate=rate, seconds=seconds, timeout_seconds=plan.timeout_seconds)


def _loaded(system: System, generator: Generator, plan: Plan, state: str, rate: float, seconds: float) -> StateFigures:
    before = system.cpu_seconds()
    load = generator.run(rate=rate, seconds=seconds, timeout_seconds=plan.timeout_seconds)
    used = _used(before, system.cpu_seconds())
    return loaded_figures(state, load, used, has_rungs=system.has_rungs)


def _used(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: max(after[name] - before.get(name, 0.0), 0.0) for name in after}


def _until_done(once: Callable[[], Sequence[float]], pending: Future[Load]) -> list[float]:
    """Does something over and over while a load runs, once at least."""
    taken = [*once()]
    while not pending.done():
        taken += once()
    pending.result()
    return taken


def _swap(system: System, generator: Generator, plan: Plan, rate: float, figures: SystemFigures, asked: Asked) -> None:
    """Publishes the second generation under load, looks at the answers, and goes back without load."""
    store = system.built.store
    old = store.current()
    new = old + 1
    moved: list[float] = []

    def publish() -> None:
        moved.append(time.perf_counter())
        store.set_current(new)

    before = system.cpu_seconds()
    pending = _begin(generator, plan, rate, 2 * plan.swap_seconds)
    timer = threading.Timer(plan.swap_seconds, publish)
    timer.start()
    try:
        loads = [pending.result()]
        timer.join()
        # How long a swap takes nobody knows before: a large one reads and sums gigabytes.
        while not _is_over(loads, new) and time.perf_counter() < moved[0] + _MOST_SWAP_SECONDS:
            loads.append(_begin(generator, plan, rate, plan.swap_seconds).result())
        load = joined(loads)
        used = _used(before, system.cpu_seconds())
        figures.swap = swap = swap_of(load, moved[0], old, new)
        until_due = float("inf") if swap is None else moved[0] + swap.seconds + _AFTER_SWAP_SECONDS
        during = [answer for answer in load.answers if moved[0] <= answer.due < until_due]
        figures.states[SWAPPING] = loaded_figures(SWAPPING, load, used, during, has_rungs=system.has_rungs)
    finally:
        timer.cancel()
        store.set_current(old)
    until(lambda: _generation(system, asked) == old, 120.0)


def _is_over(loads: Sequence[Load], new: int) -> bool:
    """Whether the load went on for long enough after the first answer of the new generation."""
    answers = [answer for load in loads for answer in load.answers]
    ended = [answer.due + answer.latency for answer in answers if answer.generation == new]
    return bool(ended) and max(answer.due for answer in answers) >= min(ended) + _AFTER_SWAP_SECONDS


def _generation(system: System, asked: Asked) -> int:
    try:
        return system.ask(asked).generation
    except NotAnswered:
        return 0
