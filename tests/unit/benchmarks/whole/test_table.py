from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.whole import plots
from benchmarks.whole.figures import IDLE, OURS, STEADY, SWAPPING, StateFigures, Swap, SystemFigures
from benchmarks.whole.table import HEADER, markdown, rows_of, verdicts, write_csv


def _state(name: str, cpu: float, p99: float = 20.0) -> StateFigures:
    return StateFigures(
        name, 50.0, 1000, 0.999, 0.99, 10.0, p99, {"gateway": cpu}, 0.9999, 1.0, 0.0001, {"UNAVAILABLE": 3}
    )


def _system(name: str = OURS, cpu: float = 5.0, p99: float = 20.0) -> SystemFigures:
    part = {"wall_ms": 2.0, "cpu_ms": 2.0}
    floors = [dict.fromkeys(("user_tower", "index", "ranker", "whole"), part)] * 2
    figures = SystemFigures(name, 10_000, knee=123.4, recall=0.951, floors=floors, fresh_idle_ms=(4.0, 9.0))
    figures.states = {IDLE: _state(IDLE, cpu), STEADY: _state(STEADY, cpu, p99)}
    return figures


def test_every_row_has_as_many_cells_as_the_header_and_the_floor_stands_before_its_system() -> None:
    rows = rows_of([_system(), _system("tutorial")])
    assert {len(row) for row in rows} == {len(HEADER)}
    assert [row[1] for row in rows] == ["floor", OURS, OURS, "floor", "tutorial", "tutorial"]


def test_a_row_tells_the_figures_under_their_heads() -> None:
    cells = dict(zip(HEADER, rows_of([_system()])[1], strict=True))
    assert cells["knee /s"] == "123"
    assert cells["recall@500"] == "95.1%"
    assert cells["times the floor"] == "2.50"
    assert cells["event to answer p50 / p99 ms"] == "4.00 / 9.00"
    assert cells["refused, failed"] == "0%, 0.3%"


def test_shares_are_never_rounded_to_all_or_none() -> None:
    cells = dict(zip(HEADER, rows_of([_system()])[1], strict=True))
    assert cells["exactly k"] == "> 99.9%"
    assert cells["degraded"] == "< 0.1%"


def test_markdown_has_one_line_a_row_and_no_cell_breaks_it() -> None:
    lines = markdown(("a", "b"), [["1|2", "3"]]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", "| 1/2 | 3 |"]


def test_csv_holds_the_same_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", ("a", "b"), [["1,5", "x"]])
    assert (tmp_path / "table.csv").read_text().splitlines() == ["a,b", '"1,5",x']


@pytest.mark.parametrize(("cpu", "told"), [(3.9, "stretch"), (5.5, "reached"), (5.7, "missed")])
def test_the_verdict_on_processor_time_stands_at_its_limits(cpu: float, told: str) -> None:
    assert told in verdicts(_system(cpu=cpu))[0]


@pytest.mark.parametrize(("p99", "told"), [(30.0, "reached"), (30.1, "missed")])
def test_the_verdict_on_the_tail_stands_at_three_times_the_median(p99: float, told: str) -> None:
    assert verdicts(_system(p99=p99))[1].endswith(told)


def test_peers_are_not_judged() -> None:
    assert verdicts(_system("tutorial")) == []


def test_pictures_are_drawn_with_and_without_a_swap(tmp_path: Path) -> None:
    swapped = _system()
    swapped.states[SWAPPING] = _state(SWAPPING, 5.0)
    swapped.swap = Swap(1.5, 0, [(-1.0, 8.0, 1), (2.0, 9.0, 2)])
    files = plots.draw([swapped, _system("tutorial")], tmp_path)
    assert [file.name for file in files] == ["whole-10000.png"]
    assert files[0].stat().st_size > 10_000


def test_a_swap_that_never_came_through_is_told() -> None:
    stuck = _system()
    stuck.states[SWAPPING] = _state(SWAPPING, 5.0)
    assert verdicts(stuck)[-1].endswith("no answer of the new generation came")
