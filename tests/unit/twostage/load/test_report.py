"""The report is one file that asks nothing of the network, and its charts are drawings of what was measured."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from twostage.load.chart import Axis, Chart, Line, Mark
from twostage.load.plots import load_plots, sweep_plots
from twostage.load.report import Report
from twostage.load.result import REFUSED, LoadResult, Outcome
from twostage.load.sweep import Sweep
from twostage.load.thresholds import read_requirement


def measured(*, rate: float = 50.0, seconds: int = 4, slow: float = 0.01, answered: bool = True) -> LoadResult:
    count = round(rate * seconds)
    made = LoadResult(count, rate=rate, timeout_seconds=1.0, seconds=seconds, sending_seconds=seconds - 1 / rate)
    for position in range(count):
        refused = not answered or position % 10 == 9
        name = REFUSED if refused else ("RUNG_FULL" if position % 3 else "RUNG_POPULAR")
        made.record(Outcome(position / rate, slow * (1 + position % 7), name, not refused, "known"))
    return made


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    root = ET.fromstring(svg.split("</svg>", maxsplit=1)[0] + "</svg>")  # noqa: S314 - what was made a line above
    found = [element for element in root.iter() if element.tag in {"polyline", "polygon"}]
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in element.attrib["points"].split())]
        for element in found
    ]


def test_a_line_runs_through_its_points_in_proportion() -> None:
    chart = Chart("a", Axis("x"), Axis("y"), [Line("one", [(0, 0), (5, 10), (10, 20)], "red")])
    ((first, middle, last),) = polylines(chart.svg())
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2, abs=0.1)
    assert middle[1] == pytest.approx((first[1] + last[1]) / 2, abs=0.1)
    # Upwards on paper is a smaller y.
    assert last[0] > first[0]
    assert last[1] < first[1]


def test_a_logarithmic_axis_gives_each_decade_the_same_room_and_leaves_out_zeros() -> None:
    points = [(0.0, 0.0), (1.0, 1.0), (2.0, 10.0), (3.0, 100.0)]
    (run,) = polylines(Chart("a", Axis("x"), Axis("y", logarithmic=True), [Line("one", points, "red")]).svg())
    assert len(run) == 3
    assert run[0][1] - run[1][1] == pytest.approx(run[1][1] - run[2][1], abs=0.2)


def test_what_was_not_measured_breaks_the_line() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 2.0), (4.0, 1.0)]
    assert [len(run) for run in polylines(Chart("a", Axis("x"), Axis("y"), [Line("one", points, "red")]).svg())] == [
        2,
        2,
    ]


@pytest.mark.parametrize("points", [[], [(1.0, 5.0)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, 1e-9), (2.0, 1e9)]])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_any_points_make_a_chart(points: list[tuple[float, float]], logarithmic: bool) -> None:
    chart = Chart("a", Axis("x"), Axis("y", logarithmic=logarithmic), [Line("o", points, "red")], [Mark(1.5, "here")])
    svg = chart.svg()
    assert "here" in svg
    assert "nan" not in svg
    assert "inf" not in svg.replace("inform", "")


def test_a_loads_charts_are_percentiles_latency_and_outcomes_over_time() -> None:
    curve, latency, outcomes = (plot.chart for plot in load_plots(measured()))
    assert [line.name for line in curve.lines] == ["known"]
    assert [point[1] for point in curve.lines[0].points][-1] == pytest.approx(70.0)
    assert {line.name for line in latency.lines} == {"max", "p99", "p90", "p50"}
    assert [line.name for line in outcomes.lines] == ["RUNG_FULL", "RUNG_POPULAR", "refused"]
    # All that was offered, stacked: 50 a second in each of the four seconds.
    assert outcomes.lines[-1].points == [(0, 50), (1, 50), (1, 50), (2, 50), (2, 50), (3, 50), (3, 50), (4, 50)]


def test_a_load_without_an_answer_has_a_chart_of_what_came_instead() -> None:
    assert [plot.title for plot in load_plots(measured(answered=False))] == ["Outcomes over time"]


def test_a_sweeps_charts_mark_the_knee() -> None:
    results = [measured(rate=rate, slow=slow) for rate, slow in ((10.0, 0.01), (20.0, 0.011), (30.0, 0.2))]
    for plot in sweep_plots(Sweep(results)):
        assert "requests a second" in plot.chart.x.label
        assert not plot.chart.marks
    whole = [LoadResult(10, rate=result.rate, timeout_seconds=2.0) for result in results]
    for each, latency in zip(whole, (0.01, 0.011, 1.0), strict=True):
        for _ in range(10):
            each.record(Outcome(0.0, latency, "RUNG_FULL", True))
    assert [mark.x for mark in next(iter(sweep_plots(Sweep(whole)))).chart.marks] == [20.0]


def test_the_report_is_whole_in_itself_and_escapes_what_it_was_told(tmp_path: Path) -> None:
    result = measured()
    checks = [read_requirement(text).check_load(result) for text in ("full>=10%", "p50<1ms")]
    path = tmp_path / "report.html"
    Report({"address": "<gateway&>"}, 1_700_000_000.0, result, Sweep([result]), checks).write(path)
    text = path.read_text()
    assert "<gateway" not in text
    assert "&lt;gateway&amp;&gt;" in text
    assert "full&gt;=10%" in text
    assert 'class="missed">not met' in text
    assert "2023-11-14 22:13:20 UTC" in text
    assert text.count("<svg") == 5
    # No script, and nothing that is loaded from anywhere.
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import|http", text)
    assert [child.name for child in tmp_path.iterdir()] == ["report.html"]
