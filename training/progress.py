"""What training tells whoever waits for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Report(Protocol):
    """Listens to training."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """A line worth reading."""

    def steps(self, count: int, label: str) -> Iterator[int]:
        """Counts through ``count`` steps while showing how many are done."""


class Silent:
    """Reports nothing."""

    def stage(self, name: str) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def steps(self, count: int, label: str) -> Iterator[int]:  # noqa: ARG002 - the protocol's signature
        """Counts."""
        yield from range(count)


@dataclass
class TerminalReport:
    """Reports on a terminal: a line per stage and note, a bar for steps; plain lines where there is no terminal."""

    console: Console = field(default_factory=lambda: Console(file=sys.stderr, highlight=False))
    started: float = field(default_factory=time.monotonic)

    def stage(self, name: str) -> None:
        """Prints the stage and the time since the start."""
        self.console.print(f"[bold]{time.monotonic() - self.started:6.0f} s  {name}[/bold]")

    def note(self, text: str) -> None:
        """Prints a line."""
        self.console.print(f"          {text}", markup=False)

    def steps(self, count: int, label: str) -> Iterator[int]:
        """Counts with a bar, which vanishes at the end."""
        with self._bar() as bar:
            task = bar.add_task(label, total=count)
            for step in range(count):
                yield step
                bar.advance(task)

    @contextmanager
    def _bar(self) -> Iterator[Progress]:
        columns = (
            TextColumn("          {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            yield bar
