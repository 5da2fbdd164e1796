"""Reliability as a picture: what rankers said against what people did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.evaluation.reliability import Reliability


def plot_reliability(measured: Mapping[str, Mapping[str, Reliability]], path: Path, title: str = "") -> None:
    """Draws one panel per action and one line per ranker, on logarithmic axes, for most actions are rare.

    A dot is a bin with the 95 % interval of what was done; on the diagonal, what was said came true. A bin in which
    nothing was done has no place on a logarithmic axis: the interval alone shows it.

    Args:
        measured: By ranker, by action.
        path: Where the PNG is written.
        title: Stands above all panels.

    Raises:
        ValueError: There is nothing to draw.
    """
    actions = list(dict.fromkeys(action for theirs in measured.values() for action in theirs))
    drawn = {
        action: {name: theirs[action] for name, theirs in measured.items() if len(theirs[action].counts)}
        for action in actions
    }
    drawn = {action: theirs for action, theirs in drawn.items() if theirs}
    if not drawn:
        raise ValueError("measured: expected at least one ranker with a probability, got none")
    # matplotlib takes most of a second to import and only pictures need it.
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    colours = {name: colormaps["tab10"](place % 10) for place, name in enumerate(measured)}
    figure = Figure(figsize=(4.6 * len(drawn) + 1.6, 4.6), layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axis, (action, theirs) in zip(axes, drawn.items(), strict=True):
        values = np.concatenate(
            [part for each in theirs.values() for part in (each.said, each.done, *each.intervals())]
        )
        low, high = max(float(values[values > 0].min(initial=1.0)), 1e-6), float(values.max(initial=1e-6))
        axis.plot([low, high], [low, high], color="black", linewidth=0.8, linestyle="--")
        for name, each in theirs.items():
            lower, upper = each.intervals()
            axis.plot(each.said, np.where(each.done > 0, each.done, np.nan), "o-", ms=3, color=colours[name], lw=1)
            axis.vlines(each.said, np.maximum(lower, low), upper, color=colours[name], linewidth=0.6, alpha=0.6)
            axis.plot([], [], color=colours[name], label=f"{name}: ECE {each.expected_calibration_error:.4f}")
        axis.set(xscale="log", yscale="log", xlabel="said (mean of a bin)", ylabel="done (part of a bin)", title=action)
        axis.grid(alpha=0.3, which="major")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False, loc="upper left")
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=120, format="png")
