"""The one table, as Markdown and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.whole.figures import IDLE, OURS, STEADY, SWAPPING, StateFigures, SystemFigures

HEADER = (
    "items",
    "system",
    "state",
    "offered /s",
    "in time",
    "p50 ms",
    "p99 ms",
    "CPU ms an answer",
    "times the floor",
    "by process, ms",
    "exactly k",
    "degraded",
    "refused, failed",
    "knee /s",
    "recall@500",
    "exactly k, filtered",
    "event to answer p50 / p99 ms",
)
CPU_AIM, CPU_STRETCH, TAIL_AIM = 2.8, 2.0, 3.0


def rows_of(systems: Sequence[SystemFigures]) -> list[list[str]]:
    """A row for the floor of each system, and one for each of its states."""
    rows = []
    for system in systems:
        if system.floors:
            rows.append(_floor_row(system))
        rows += [_state_row(system, state) for state in system.states.values()]
    return rows


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, of one line each; a bar in a cell would be a new cell and is written out of the way."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines) + "\n"


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The same as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def verdicts(system: SystemFigures) -> list[str]:
    """What was aimed at and what came, a line each; nothing for a peer and for what was not measured."""
    if system.name != OURS:
        return []
    lines = []
    where = f"{system.name}, {system.item_count:,} items"
    if IDLE in system.states and system.floors:
        times = system.times_floor(IDLE)
        told = "the stretch is reached" if times <= CPU_STRETCH else "reached" if times <= CPU_AIM else "missed"
        lines.append(f"{where}: CPU of a Recommend {times:.2f} times the floor, at most {CPU_AIM:g} aimed at: {told}")
    if STEADY in system.states:
        steady = system.states[STEADY]
        tail = steady.p99_ms / steady.p50_ms
        told = "reached" if tail <= TAIL_AIM else "missed"
        lines.append(f"{where}: p99 at 60 % of the knee {tail:.2f} times p50, at most {TAIL_AIM:g} aimed at: {told}")
    if SWAPPING in system.states and system.swap is None:
        lines.append(f"{where}: no answer of the new generation came")
    elif system.swap is not None:
        state = system.states[SWAPPING]
        failed = sum(state.errors.values())
        lines.append(
            f"{where}: the new generation answers after {system.swap.seconds:.1f} s, {failed} failed requests, "
            f"{system.swap.mixed_count} answers of a generation that should not"
        )
    return lines


def _floor_row(system: SystemFigures) -> list[str]:
    cells = [f"{system.item_count:,}", "floor", f"before and after {system.name}", "", ""]
    parts = {name: sum(floor[name]["cpu_ms"] for floor in system.floors) / len(system.floors) for name in _PARTS}
    cells += [_number(system.floor_wall_ms), "", _number(system.floor_cpu_ms), "1", _parts(parts)]
    return cells + [""] * (len(HEADER) - len(cells))


_PARTS = ("user_tower", "index", "ranker")


def _state_row(system: SystemFigures, state: StateFigures) -> list[str]:
    fresh = {IDLE: system.fresh_idle_ms, STEADY: system.fresh_steady_ms}.get(state.state)
    is_idle = state.state == IDLE
    return [
        f"{system.item_count:,}",
        system.name,
        state.state,
        f"{state.offered:.0f}" if state.offered else "one at a time",
        _share(state.in_time_share),
        _number(state.p50_ms),
        _number(state.p99_ms),
        _number(state.total_cpu_ms),
        _number(system.times_floor(state.state)) if system.floors else "",
        _parts(state.cpu_ms),
        _share(state.exact_share),
        "no rungs" if state.degraded_share is None else _share(state.degraded_share),
        _errors(state),
        f"{system.knee:.0f}" if is_idle else "",
        _share(system.recall) if is_idle else "",
        _share(system.filtered_exact_share) if is_idle else "",
        " / ".join(_number(value) for value in fresh) if fresh else "",
    ]


def _errors(state: StateFigures) -> str:
    others = sum(state.errors.values()) - state.refused_count
    return f"{_share(state.refused_count / state.request_count)}, {_share(others / state.request_count)}"


def _parts(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in parts.items())


def _number(value: float) -> str:
    if math.isnan(value):
        return "none"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _share(value: float) -> str:
    """Percent; never rounded to all or to none of what is not."""
    if math.isnan(value):
        return "none"
    text = f"{value:.1%}"
    if text == "100.0%" and value < 1:
        return "> 99.9%"
    if text == "0.0%" and value > 0:
        return "< 0.1%"
    return {"100.0%": "100%", "0.0%": "0%"}.get(text, text)
