"""Which charts a report has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from twostage.load.chart import Axis, Chart, Line, Mark
from twostage.load.result import FULL, REFUSED, LoadResult
from twostage.load.saturation import KEPT_UP_SHARE
from twostage.load.sweep import Sweep

_COLOURS = {
    FULL: "#2b7bba",
    "ACCEPTED": "#6c8ebf",
    "RUNG_FEWER_CANDIDATES": "#3aa18f",
    "RUNG_RETRIEVAL_ORDER": "#e0a030",
    "RUNG_CACHED": "#b07cc6",
    "RUNG_POPULAR": "#d9772f",
    REFUSED: "#7f7f7f",
}
_ERROR_COLOUR = "#c0392b"
_SHARES = ((50.0, "#2b7bba"), (90.0, "#e0a030"), (99.0, "#c0392b"))
_KINDS = ("#2b7bba", "#e0a030", "#3aa18f", "#b07cc6", "#c0392b", "#7f7f7f")
_NINES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


class Plot(NamedTuple):
    """A chart with words.

    Args:
        title: Above it.
        note: How to read it.
        chart: The chart.
    """

    title: str
    note: str
    chart: Chart


def load_plots(result: LoadResult) -> Iterator[Plot]:
    """The percentile curve, latency over time, and what came over time."""
    if result.tally(answered=True).histogram.count:
        yield _percentile_curve(result)
        yield _latency_over_time(result)
    yield _outcomes_over_time(result)


def sweep_plots(sweep: Sweep) -> Iterator[Plot]:
    """Goodput and latency over the rate."""
    knee = sweep.knee
    marks = [] if knee is None else [Mark(knee, f"knee {knee:.4g}/s")]
    offered = Axis("offered, requests a second")
    ideal = [(0.0, 0.0), (sweep.rates[-1], sweep.rates[-1])]
    yield Plot(
        "Throughput",
        f"Answers in time over what was offered. A rate is kept up with when {KEPT_UP_SHARE:.0%} are answered in time.",
        Chart(
            "goodput over the offered rate",
            offered,
            Axis("answered in time, a second"),
            [
                Line("all of it", ideal, "#9996", dashed=True),
                Line("in time", [(each.rate, each.goodput()) for each in sweep.results], "#3aa18f", dots=True),
                Line(f"on {FULL}", [(each.rate, each.goodput(FULL)) for each in sweep.results], "#2b7bba", dots=True),
            ],
            marks,
        ),
    )
    histograms = [(each.rate, each.tally(answered=True).histogram) for each in sweep.results]
    lines = [
        Line(f"p{share:g}", [(rate, each.percentile(share) * 1e3) for rate, each in histograms], colour, dots=True)
        for share, colour in _SHARES
        if share != 90.0
    ]
    yield Plot(
        "Latency",
        "Of answers, from when they were due. The knee is where the p99 of all requests begins to climb.",
        Chart("latency over the offered rate", offered, Axis("milliseconds", logarithmic=True), lines, marks),
    )


def _percentile_curve(result: LoadResult) -> Plot:
    kinds = result.kinds
    lines = []
    deepest = 0.0
    for position, kind in enumerate(kinds):
        histogram = result.tally(kind=kind, answered=True).histogram
        # The last tick is at 100 percent, which has no place: it stands where the one longest request is.
        end = _nines(100 * (1 - 1 / max(histogram.count, 1)))
        points = [(min(_nines(tick.percentile), end), tick.seconds * 1e3) for tick in histogram.curve()]
        if points:
            lines.append(Line(kind, points, _KINDS[position % len(_KINDS)]))
            deepest = max(deepest, points[-1][0])
    ticks = [(_nines(share), f"{share:g} %") for share in _NINES if _nines(share) <= deepest * 1.001]
    return Plot(
        "Latency by percentile",
        "Of answers, by kind of request. Each step to the right leaves a tenth of the requests.",
        Chart("latency by percentile", Axis("percentile", ticks=ticks), Axis("milliseconds", logarithmic=True), lines),
    )


def _nines(percentile: float) -> float:
    return -math.log10(max(1 - percentile / 100, 1e-12))


def _latency_over_time(result: LoadResult) -> Plot:
    histograms = [
        (index * result.interval_seconds, result.tally(answered=True, interval=index).histogram)
        for index in range(result.interval_count)
    ]
    lines = [
        Line(f"p{share:g}", [(start, each.percentile(share) * 1e3) for start, each in histograms], colour)
        for share, colour in reversed(_SHARES)
    ]
    lines.insert(0, Line("max", [(start, each.percentile(100) * 1e3) for start, each in histograms], "#9998"))
    return Plot(
        "Latency over time",
        f"Of answers to requests that were due in each {result.interval_seconds:g} s.",
        Chart("latency over time", Axis("seconds"), Axis("milliseconds", logarithmic=True), lines),
    )


def _outcomes_over_time(result: LoadResult) -> Plot:
    total_seconds = result.due_count / result.rate if result.rate else result.interval_seconds
    lines: list[Line] = []
    sums = [0.0] * result.interval_count
    for answered in (True, False):
        # The best lowest, so that what is missing shows at the top.
        names = sorted(
            result.names(answered=answered), key=lambda name: list(_COLOURS).index(name) if name in _COLOURS else 99
        )
        for name in names:
            points: list[tuple[float, float]] = []
            for index in range(result.interval_count):
                start = index * result.interval_seconds
                # The last interval may be cut short.
                length = max(min(result.interval_seconds, total_seconds - start), 1e-9)
                tally = result.tally(name=name, answered=answered, interval=index)
                sums[index] += (tally.in_time_count if answered else tally.histogram.count) / length
                points += [(start, sums[index]), (start + length, sums[index])]
            lines.append(Line(_shown(name, answered), points, _COLOURS.get(name, _ERROR_COLOUR)))
    return Plot(
        "Outcomes over time",
        "Answers in time by rung, and refusals and failures on top of them.",
        Chart(
            "outcomes over time",
            Axis("seconds"),
            Axis("requests a second"),
            lines,
            stacked=True,
        ),
    )


def _shown(name: str, answered: bool) -> str:
    return "refused" if name == REFUSED and not answered else name
