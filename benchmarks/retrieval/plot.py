"""Recall over time as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.retrieval.contest import Point
from training.index_plot import undominated


def plot_frontiers(
    points: Mapping[str, Sequence[Point]], chosen: Sequence[Point], *, target: float, at: int, title: str, path: Path
) -> None:
    """Draws each library's points, a line through those that no other point of it beats, and the chosen ones.

    Args:
        points: By library.
        chosen: The points that are marked.
        target: The recall asked for, drawn as a line.
        at: How many nearest items.
        title: Above the picture.
        path: Where it is written; the name's end says as what, e.g. ``.png``.
    """
    # matplotlib takes most of a second to import and only pictures need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter  # noqa: PLC0415

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (library, own) in enumerate(points.items()):
        colour = f"C{number}"
        axis.scatter([point.median_ms for point in own], [point.recall for point in own], s=9, color=colour, alpha=0.3)
        front = undominated(own)
        axis.plot(
            [point.median_ms for point in front],
            [point.recall for point in front],
            color=colour,
            marker=".",
            label=f"{library} {front[0].searcher.version}",
        )
        for point in chosen:
            if point.library == library:
                axis.scatter([point.median_ms], [point.recall], s=130, marker="*", color=colour, edgecolor="black")
    axis.axhline(target, color="grey", linestyle="--", linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("median of single searches on one thread, ms")
    axis.set_ylabel(f"recall@{at}")
    # What finds next to nothing is no choice; the picture is about the upper end.
    axis.set_ylim(bottom=max(min(point.recall for own in points.values() for point in own), target - 0.25), top=1.005)
    axis.set_title(title)
    axis.grid(visible=True, which="both", alpha=0.25)
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=130)
