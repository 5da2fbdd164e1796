"""Results as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.evaluation.harness import Result

PLOT_METRICS = ("recall@20", "recall@100", "ndcg@10", "hit_rate@10", "coverage@20")
"""The groups of bars; all lie between 0 and 1."""


def plot(results: Sequence[Result], path: Path, metrics: Sequence[str] = PLOT_METRICS) -> None:
    """Draws bars by metric and model with their intervals, one panel per data set, task and group of people.

    Args:
        results: What was measured.
        path: Where the PNG is written.
        metrics: The groups of bars; those no result has are left out.

    Raises:
        ValueError: There is nothing to draw.
    """
    panels: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        panels.setdefault((result.dataset, result.task, result.group), []).append(result)
    if not panels:
        raise ValueError("results: expected at least one, got none")
    # matplotlib takes most of a second to import and only pictures need it.
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    models = list(dict.fromkeys(result.model for result in results))
    # A model keeps its colour in every panel.
    colours = {model: colormaps["tab10"](place % 10) for place, model in enumerate(models)}
    figure = Figure(figsize=(11, 3.6 * len(panels)), layout=ConstrainedLayoutEngine(hspace=0.06))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, ((dataset, task, group), rows) in zip(axes, panels.items(), strict=True):
        shown = [metric for metric in metrics if any(metric in row.metrics for row in rows)]
        width = 0.85 / len(rows)
        for place, row in enumerate(rows):
            estimates = [row.metrics.get(metric) for metric in shown]
            means = np.array([np.nan if e is None else e.mean for e in estimates])
            lows = np.array([np.nan if e is None or e.low is None else e.low for e in estimates])
            highs = np.array([np.nan if e is None or e.high is None else e.high for e in estimates])
            centres = np.arange(len(shown)) + (place - (len(rows) - 1) / 2) * width
            axis.bar(centres, means, width * 0.92, color=colours[row.model], label=row.model)
            measured = ~np.isnan(lows)
            axis.errorbar(
                centres[measured],
                means[measured],
                # Rounding can put a mean a hair outside its interval; matplotlib refuses negative lengths.
                yerr=np.maximum([(means - lows)[measured], (highs - means)[measured]], 0.0),
                fmt="none",
                ecolor="black",
                elinewidth=1,
                capsize=2,
            )
        axis.set_xticks(np.arange(len(shown)), shown)
        axis.set_title(f"{dataset}, {task}: {rows[0].people_count:,} {group} people")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=120, format="png")
