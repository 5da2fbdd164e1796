"""What was measured of each way of searching, and which ones meet in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.retrieval.told_process import SearcherProcess


@dataclass
class Point:
    """One way of searching.

    Args:
        searcher: The library's process.
        number: Which of the process's points.
        recall: Mean share of the exact nearest items found.
        round_ms: The median of single searches, for each round.
        contest_ms: The same in the last part, where few points meet often.
        cores: The most CPU for wall time in any round; above 1 would be a second thread.
    """

    searcher: SearcherProcess
    number: int
    recall: float = 0.0
    round_ms: list[float] = field(default_factory=list)
    contest_ms: list[float] = field(default_factory=list)
    cores: float = 0.0

    @property
    def library(self) -> str:
        """Whose it is."""
        return self.searcher.name

    @property
    def median_ms(self) -> float:
        """Median over the rounds' medians."""
        return float(np.median(self.round_ms))

    @property
    def parameters(self) -> str:
        """As a table shows them."""
        return ", ".join(f"{name} {value:g}" for name, value in self.searcher.points[self.number].items())

    def measure_recall(self) -> None:
        """Searches all queries."""
        self.recall = self.searcher.ask(do="recall", point=self.number)["recall"]

    def measure_time(self, searches: int, first: int, into: list[float]) -> None:
        """Times searches and appends their median to ``into``, milliseconds."""
        answer = self.searcher.ask(do="time", point=self.number, searches=searches, first=first)
        into.append(answer["median_ms"])
        self.cores = max(self.cores, answer["cores"])

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured."""
        return {
            "library": self.library,
            "parameters": self.searcher.points[self.number],
            "recall": self.recall,
            "median_ms": self.median_ms,
            "round_ms": self.round_ms,
            "contest_ms": self.contest_ms,
            "cores": self.cores,
        }


def fastest(points: Sequence[Point], target: float) -> Point | None:
    """The fastest that reaches the recall, None when none does."""
    reaching = [point for point in points if point.recall >= target]
    return min(reaching, key=lambda point: point.median_ms, default=None)


def ratio(point: Point, other: Point) -> float:
    """Times as long as another: the median of the contest's rounds, each with both in it."""
    return float(np.median(np.array(point.contest_ms) / np.array(other.contest_ms)))
