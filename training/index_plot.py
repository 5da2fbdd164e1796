"""Recall over search time: what the index builder measured, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from twostage.bundle.manifest import IndexEntry


def plot_frontier(entry: IndexEntry, path: Path) -> None:
    """Draws every point that was measured, a line for each index's best ones, and the choice.

    Args:
        entry: An index with a frontier.
        path: Where the PNG is written.

    Raises:
        ValueError: Nothing was measured.
    """
    if not entry.frontier:
        raise ValueError("frontier: expected points that were measured, received none")
    # matplotlib takes most of a second to import and only pictures need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import FormatStrFormatter  # noqa: PLC0415

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, factory in enumerate(dict.fromkeys(point.factory for point in entry.frontier)):
        points = [point for point in entry.frontier if point.factory == factory]
        best = undominated(points)
        colour = f"C{number}"
        label = f"{factory}, {points[0].bytes_per_item:g} bytes an item"
        axis.plot([p.median_ms for p in best], [p.recall for p in best], color=colour, label=label)
        axis.scatter([p.median_ms for p in points], [p.recall for p in points], color=colour, s=10, alpha=0.5)
    for point in entry.frontier:
        if point.chosen:
            axis.scatter([point.median_ms], [point.recall], marker="*", s=220, color="black", label="chosen", zorder=3)
    if entry.recall_target is not None:
        axis.axhline(entry.recall_target, color="grey", linestyle=":", label=f"target {entry.recall_target:g}")
    axis.set_xscale("log")
    for formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        formatter(FormatStrFormatter("%.2g"))
    axis.set_xlabel(f"median milliseconds for {entry.recall_at} items, one thread")
    axis.set_ylabel(f"recall@{entry.recall_at} over user vectors")
    axis.grid(visible=True, alpha=0.3)
    axis.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")


class Measured(Protocol):
    """Something whose recall and time were measured."""

    @property
    def recall(self) -> float:
        """The share of the nearest that it finds."""

    @property
    def median_ms(self) -> float:
        """How long it takes."""


M = TypeVar("M", bound=Measured)


def undominated(points: Sequence[M]) -> list[M]:
    """Those that no other point beats in both recall and time, from fast to slow."""
    best: list[M] = []
    for point in sorted(points, key=lambda one: (one.median_ms, -one.recall)):
        if not best or point.recall > best[-1].recall:
            best.append(point)
    return best
