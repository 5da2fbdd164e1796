"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.whole.figures import IDLE, STEADY, SystemFigures


def draw(systems: Sequence[SystemFigures], folder: Path) -> list[Path]:
    """Draws one picture for each catalogue: latencies by state, knees, processor time by process, and the swap.

    Args:
        systems: What was measured.
        folder: Where to; it is there.

    Returns:
        The files (PNG).
    """
    import matplotlib as mpl  # noqa: PLC0415 - only who wants a picture needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    files = []
    systems = [system for system in systems if system.states]
    for item_count in dict.fromkeys(system.item_count for system in systems):
        of_size = [system for system in systems if system.item_count == item_count]
        figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
        _latencies(axes[0, 0], of_size)
        _knees(axes[0, 1], of_size)
        _cpu(axes[1, 0], of_size)
        _swap(axes[1, 1], of_size)
        figure.suptitle(f"20 of 500 of {item_count:,} items")
        path = folder / f"whole-{item_count}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        files.append(path)
    return files


def _latencies(axis: Any, systems: Sequence[SystemFigures]) -> None:
    states = list(dict.fromkeys(name for system in systems for name in system.states))
    width = 0.8 / len(systems)
    for position, system in enumerate(systems):
        places = [states.index(name) + (position - (len(systems) - 1) / 2) * width for name in system.states]
        medians = [state.p50_ms for state in system.states.values()]
        tails = [state.p99_ms for state in system.states.values()]
        bars = axis.bar(places, tails, width, alpha=0.45, label=f"{system.name}, p99")
        axis.bar(places, medians, width, color=bars[0].get_facecolor()[:3], label=f"{system.name}, p50")
    axis.set_yscale("log")
    axis.set_ylabel("ms from when a request was due")
    axis.set_xticks(range(len(states)), states)
    axis.set_title("Latency of answers by state")
    axis.legend(fontsize="small")


def _knees(axis: Any, systems: Sequence[SystemFigures]) -> None:
    bars = axis.bar([system.name for system in systems], [system.knee for system in systems])
    axis.bar_label(bars, fmt="%.0f")
    axis.set_ylabel("requests a second")
    axis.set_title("Throughput at the knee")


def _cpu(axis: Any, systems: Sequence[SystemFigures]) -> None:
    columns: list[tuple[str, dict[str, float]]] = []
    for system in systems:
        if system.floors and not columns:
            parts = {
                f"floor: {name}": sum(floor[name]["cpu_ms"] for floor in system.floors) / len(system.floors)
                for name in ("user_tower", "index", "ranker")
            }
            columns.append(("floor", parts))
        shown = [name for name in (IDLE, STEADY) if name in system.states]
        columns += [(f"{system.name}\n{name}", system.states[name].cpu_ms) for name in shown]
    import matplotlib as mpl  # noqa: PLC0415 - as above

    # There are more processes than the usual ten colours.
    axis.set_prop_cycle(color=mpl.colormaps["tab20"](range(20)))
    heights = [0.0] * len(columns)
    for part in dict.fromkeys(part for _, parts in columns for part in parts):
        values = [parts.get(part, 0.0) for _, parts in columns]
        axis.bar([name for name, _ in columns], values, bottom=heights, label=part)
        heights = [height + value for height, value in zip(heights, values, strict=True)]
    axis.set_ylabel("ms of CPU an answer")
    axis.set_title("Processor time by process")
    axis.tick_params(axis="x", labelsize="x-small")
    axis.legend(fontsize="x-small", ncols=2)


def _swap(axis: Any, systems: Sequence[SystemFigures]) -> None:
    axis.set_title("While a generation is published, at 60 % of the knee")
    swapped = [system for system in systems if system.swap is not None]
    for system in swapped:
        assert system.swap is not None
        for number in dict.fromkeys(generation for _, _, generation in system.swap.timeline):
            own = [(due, latency) for due, latency, generation in system.swap.timeline if generation == number]
            axis.scatter(*zip(*own, strict=True), s=4, label=f"{system.name}, generation {number}")
    if not swapped:
        axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
        return
    axis.axvline(0, linestyle=":", color="black", label="CURRENT moves")
    axis.set_yscale("log")
    axis.set_xlabel("seconds")
    axis.set_ylabel("ms")
    axis.legend(fontsize="small")
