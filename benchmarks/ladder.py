"""What faults cost callers, and how soon all is well again: ``python -m benchmarks.ladder``."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.chaos.stack import DEADLINE_SECONDS, Answered, Load, Stack, running
from twostage.bundle.store import Store

RECOVERY_AIM_SECONDS = 2.0

_FAULTS: dict[str, tuple[str, Callable[[Stack], None], Callable[[Stack], None]]] = {
    f"{name} {verb}": (name, break_it, repair)
    for name in ("ranking", "retrieval", "model_server")
    for verb, break_it, repair in (
        ("killed", lambda stack, name=name: stack.kill(name), lambda stack, name=name: stack.restart(name)),
        ("hanging", lambda stack, name=name: stack.stop(name), lambda stack, name=name: stack.go_on(name)),
    )
}


@dataclass(frozen=True)
class Figures:
    """What one fault did.

    Args:
        fault: Which.
        asked_count: Requests that were due, from the fault to two seconds and a half after the repair.
        answered_count: How many of them were answered.
        rungs: How many stand on which rung.
        named: True when every answer below FULL has its reason.
        p99_before_ms: From when requests were due, before the fault.
        p99_ms: The same from the fault to the repair.
        slow_count: How many took more than a quarter of the deadline.
        recovery_seconds: From the repair to the last request that was not answered in full.
    """

    fault: str
    asked_count: int
    answered_count: int
    rungs: Counter[str]
    named: bool
    p99_before_ms: float
    p99_ms: float
    slow_count: int
    recovery_seconds: float

    @property
    def is_as_wished(self) -> bool:
        """Everybody answered in time and told why, and everything back in time."""
        return (
            self.answered_count == self.asked_count
            and self.named
            and self.p99_ms < DEADLINE_SECONDS * 1000
            and self.recovery_seconds < RECOVERY_AIM_SECONDS
        )


@click.command()
@click.option("--store", type=click.Path(path_type=Path, exists=True), help="A small one is made when unset.")
@click.option("--rate", default=40.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=4.0, show_default=True, help="How long each fault lasts; a killed process longer.")
@click.option("--candidates", "candidate_count", default=300, show_default=True)
def main(store: Path | None, rate: float, seconds: float, candidate_count: int) -> None:
    """Breaks each service in turn under open-loop load, repairs it, and looks at what callers got."""
    console = Console(width=None if Console().is_terminal else 140)
    with (
        tempfile.TemporaryDirectory(prefix="twostage-ladder-") as folder,
        Progress(console=console) as progress,
        running(Path(folder), None if store is None else Store(store), candidate_count) as stack,
    ):
        task = progress.add_task("faults", total=len(_FAULTS))
        figures = []
        for fault, (_, break_it, repair) in _FAULTS.items():
            figures.append(_measure(stack, fault, break_it, repair, rate=rate, seconds=seconds))
            progress.advance(task)
    console.print(_table(figures, rate))
    if not all(each.is_as_wished for each in figures):
        raise SystemExit(1)


def _measure(
    stack: Stack,
    fault: str,
    break_it: Callable[[Stack], None],
    repair: Callable[[Stack], None],
    *,
    rate: float,
    seconds: float,
) -> Figures:
    with Load(stack, rate=rate) as load:
        began_at = time.perf_counter()
        time.sleep(2)
        broken_at = time.perf_counter()
        break_it(stack)
        time.sleep(seconds)
        repair(stack)
        repaired_at = time.perf_counter()
        time.sleep(RECOVERY_AIM_SECONDS + 0.5)
    meanwhile = load.between(broken_at, repaired_at)
    low = [answer for answer in load.between(broken_at, float("inf")) if answer.rung != "FULL"]
    return Figures(
        fault=fault,
        asked_count=load.due_count,
        answered_count=len(load.answers),
        rungs=Counter(answer.rung for answer in meanwhile),
        named=all(answer.response.rung_reason for answer in low),
        p99_before_ms=load.p99(load.between(began_at, broken_at)) * 1000,
        p99_ms=load.p99(meanwhile) * 1000,
        slow_count=sum(_seconds(answer) > DEADLINE_SECONDS / 4 for answer in meanwhile),
        recovery_seconds=max((answer.due - repaired_at for answer in low), default=0.0),
    )


def _seconds(answer: Answered) -> float:
    return answer.came - answer.due


def _table(figures: list[Figures], rate: float) -> Table:
    table = Table(title=f"{rate:g} requests a second, deadline {DEADLINE_SECONDS:g} s")
    for column in ("fault", "answered", "meanwhile", "p99 before", "p99 meanwhile", "over 1/4", "FULL again after", ""):
        table.add_column(column)
    for each in figures:
        rungs = ", ".join(f"{rung} {count}" for rung, count in each.rungs.most_common())
        table.add_row(
            each.fault,
            f"{each.answered_count} of {each.asked_count}",
            rungs,
            f"{each.p99_before_ms:.0f} ms",
            f"{each.p99_ms:.0f} ms",
            str(each.slow_count),
            f"{max(each.recovery_seconds, 0.0):.2f} s",
            "as wished" if each.is_as_wished else "NOT as wished",
        )
    return table


if __name__ == "__main__":
    main()
