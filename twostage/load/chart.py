"""Small line charts as SVG text, so that a report is one file and needs no library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 12, 44
_MAX_TICKS = 6
_LEAST_DECADE_TICKS = 3


@dataclass(frozen=True)
class Line:
    """One line.

    Args:
        name: In the legend; none there when empty.
        points: (x, y), x ascending; a y that is not finite breaks the line.
        colour: Of CSS.
        dashed: Drawn dashed.
        dots: With a dot at each point.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis.

    Args:
        label: What it shows, with its unit.
        logarithmic: Each decade takes the same room; only values above 0 are drawn.
        ticks: (value, text) where the usual ticks do not do; chosen when empty.
        from_zero: A linear axis begins at 0.
    """

    label: str
    logarithmic: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    from_zero: bool = True


@dataclass(frozen=True)
class Mark:
    """A value of the x axis to point out.

    Args:
        x: Where.
        text: What it is.
    """

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Lines over two axes.

    Args:
        title: What a screen reader says.
        x: The axis from left to right.
        y: The axis from bottom to top.
        lines: What is drawn; a later one covers an earlier one.
        marks: Upright lines with words.
        stacked: Lines are sums of what lies below them: the area to the one below is filled.
    """

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    marks: Sequence[Mark] = field(default=())
    stacked: bool = False

    def svg(self) -> str:
        """The chart as an ``<svg>`` element; its text takes the page's colour."""
        points = [point for line in self.lines for point in line.points if math.isfinite(point[1])]
        xs = [x for x, _ in points] + [mark.x for mark in self.marks]
        x_scale = _Scale(self.x, xs, _LEFT, WIDTH - _RIGHT, tight=True)
        y_scale = _Scale(self.y, [y for _, y in points], HEIGHT - _BOTTOM, _TOP, tight=False)
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            *_axes(self, x_scale, y_scale),
            *self._drawn(x_scale, y_scale),
        ]
        for mark in self.marks:
            at = x_scale.place(mark.x)
            side, anchor = (-4, "end") if at > WIDTH / 2 else (4, "start")
            parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
            parts.append(f'<text x="{at + side:.1f}" y="{_TOP + 11}" text-anchor="{anchor}">{escape(mark.text)}</text>')
        parts.append("</svg>")
        return "\n".join(parts) + self._legend()

    def _drawn(self, x_scale: _Scale, y_scale: _Scale) -> Iterable[str]:
        floor = y_scale.place(0.0 if not self.y.logarithmic else y_scale.low)
        lines = reversed(self.lines) if self.stacked else self.lines
        for line in lines:
            for run in _runs(line.points, self.x.logarithmic, self.y.logarithmic):
                places = [(x_scale.place(x), y_scale.place(y)) for x, y in run]
                text = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
                if self.stacked:
                    text = f"{places[0][0]:.1f},{floor:.1f} {text} {places[-1][0]:.1f},{floor:.1f}"
                    yield f'<polygon points="{text}" fill="{line.colour}"/>'
                    continue
                dash = ' stroke-dasharray="5 4"' if line.dashed else ""
                yield f'<polyline points="{text}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>'
                if line.dots or len(run) == 1:
                    for (x, y), (at, height) in zip(run, places, strict=True):
                        told = escape(f"{line.name}: {x:.6g}, {y:.4g}")
                        dot = f'<circle cx="{at:.1f}" cy="{height:.1f}" r="3" fill="{line.colour}">'
                        yield f"{dot}<title>{told}</title></circle>"

    def _legend(self) -> str:
        entries = [
            f'<span><i style="background:{line.colour}"></i>{escape(line.name)}</span>'
            for line in self.lines
            if line.name
        ]
        return f'\n<p class="legend">{"".join(entries)}</p>' if entries else ""


class _Scale:
    """From values to places on the paper."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float, *, tight: bool) -> None:
        self._start, self._end = start, end
        self._map: Callable[[float], float] = math.log10 if axis.logarithmic else float
        usable = [value for value in values if value > 0 or not axis.logarithmic] or [1.0]
        low, high = min(usable), max(usable)
        if axis.logarithmic:
            self.ticks = list(axis.ticks) or _decades(low, high)
            self.low = low if tight else min(low, self.ticks[0][0])
            self.high = high if tight else max(high, self.ticks[-1][0])
        else:
            low = min(low, 0.0) if axis.from_zero else low
            self.ticks = list(axis.ticks) or _steps(low, high)
            self.low, self.high = low, high if tight else max(high * 1.05, self.ticks[-1][0])
        if self.high <= self.low:
            self.high = self.low * 2 if self.low > 0 else self.low + 1.0
        self.ticks = [tick for tick in self.ticks if self.low * 0.999 <= tick[0] <= self.high * 1.001]

    def place(self, value: float) -> float:
        low, high = self._map(self.low), self._map(self.high)
        return self._start + (self._map(value) - low) / (high - low) * (self._end - self._start)


def _axes(chart: Chart, x_scale: _Scale, y_scale: _Scale) -> Iterable[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    for value, text in y_scale.ticks:
        at = y_scale.place(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    for value, text in x_scale.ticks:
        at = x_scale.place(value)
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text x="{(_LEFT + right) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(chart.x.label)}</text>'
    middle = (_TOP + bottom) / 2
    turned = f'transform="rotate(-90 14 {middle:.0f})"'
    yield f'<text x="14" y="{middle:.0f}" text-anchor="middle" {turned}>{escape(chart.y.label)}</text>'


def _runs(points: Sequence[tuple[float, float]], log_x: bool, log_y: bool) -> Iterable[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for x, y in points:
        if math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y):
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _steps(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers in even steps."""
    if high <= low:
        high = low + 1.0
    rough = (high - low) / _MAX_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.ceil(high / step - 1e-9)
    return [(position * step, f"{position * step:.10g}") for position in range(first, last + 1)]


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """1, 2 and 5 of each decade, or the decades alone where those are many; from below ``low`` to above ``high``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= _LEAST_DECADE_TICKS else (1,)
    values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = max((value for value in values if value <= low), default=values[0])
    above = min((value for value in values if value >= high), default=values[-1])
    return [(value, f"{value:.10g}") for value in values if below <= value <= above]
