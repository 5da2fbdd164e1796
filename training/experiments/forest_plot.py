"""Differences between arms as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.experiments.ratio import RateEstimate
from training.experiments.report import ReportPlan, Section

_COLOURS = {"sequential": "tab:blue", "fixed-horizon": "tab:orange"}


def forest_plot(computed: Sequence[Section], plan: ReportPlan, path: Path) -> None:
    """Draws a forest plot: a line for each comparison, its estimate and its intervals against no difference.

    Differences of rates stand in one panel, shares of wins in another, for they have different zeros.

    Args:
        computed: What was computed.
        plan: Which intervals.
        path: Where the PNG is written.

    Raises:
        ValueError: There is nothing to compare.
    """
    differences: list[tuple[str, RateEstimate]] = []
    shares: list[tuple[str, RateEstimate]] = []
    for section in computed:
        differences += [
            (f"{section.experiment}: {arm.arm}, {section.action}", arm.difference)
            for arm in section.arms
            if arm.difference is not None
        ]
        if section.rivals is not None:
            shares.append((f"{section.experiment}: {section.rivals.arm}, {section.action}", section.rivals.share))
    panels = [
        (rows, middle, title)
        for rows, middle, title in (
            (differences, 0.0, "actions per answer, arm minus control"),
            (shares, 0.5, "share of wins"),
        )
        if rows
    ]
    if not panels:
        raise ValueError("expected arms to compare, there are none")
    # matplotlib takes most of a second to import and only pictures need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    heights = [len(rows) for rows, _, _ in panels]
    figure = Figure(figsize=(9, 1.4 * len(panels) + 0.45 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (rows, middle, title) in zip(axes, panels, strict=True):
        axis.axvline(middle, color="black", linewidth=0.8)
        for place, (_, estimate) in enumerate(rows):
            for offset, method in enumerate(plan.methods):
                interval = estimate.interval(method, plan.confidence, plan.target_count)
                if interval is not None:
                    height = place + (offset - (len(plan.methods) - 1) / 2) * 0.22
                    axis.plot([interval.low, interval.high], [height, height], color=_COLOURS[method], linewidth=2)
            axis.plot(estimate.value, place, "o", color="black", markersize=4)
        axis.set_yticks(range(len(rows)), [label for label, _ in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(title)
        axis.spines[["top", "right"]].set_visible(False)
    for method in plan.methods:
        axes[0].plot([], [], color=_COLOURS[method], linewidth=2, label=f"{method}, {plan.confidence:.0%}")
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=120, format="png")
