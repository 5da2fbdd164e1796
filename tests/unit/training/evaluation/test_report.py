from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from training.evaluation.bootstrap import Estimate
from training.evaluation.harness import Result
from training.evaluation.plot import plot
from training.evaluation.report import as_manifest, tables

RESULTS = [
    Result(
        "books",
        "liked",
        "EASE",
        "warm",
        1200,
        {"recall@20": Estimate(0.25, 0.24, 0.26)},
        fit_seconds=2.5,
        recommend_ms=0.5,
    ),
    Result("books", "liked", "random", "warm", 1200, {"recall@20": Estimate(0.125), "novelty@20": Estimate(math.nan)}),
    Result("books", "liked", "EASE", "cold", 7, {"recall@20": Estimate(0.0, 0.0, 0.0)}),
]


def printed(note: str = "") -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    for table in tables(RESULTS, note=note):
        console.print(table)
    return console.export_text()


def test_a_table_per_group_shows_means_and_half_intervals() -> None:
    text = printed()
    assert "books, liked: 1,200 warm people" in text
    assert "books, liked: 7 cold people" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "EASE 0.250 ±.010 - 2.5 0.50" in lines
    assert "random 0.125 - - -" in lines
    assert "ndcg" not in text


def test_a_note_stands_in_the_title() -> None:
    assert "1,200 warm people, cold items" in printed("cold items")


def test_manifest_values_survive_strict_json() -> None:
    stored = json.loads(json.dumps(as_manifest(RESULTS), allow_nan=False))
    assert stored[0] == {
        "dataset": "books",
        "task": "liked",
        "model": "EASE",
        "group": "warm",
        "people_count": 1200,
        "fit_seconds": 2.5,
        "recommend_ms": 0.5,
        "metrics": {"recall@20": {"mean": 0.25, "low": 0.24, "high": 0.26}},
    }
    assert stored[1]["metrics"]["novelty@20"] == {"mean": None, "low": None, "high": None}


def test_the_plot_is_a_png_that_grows_with_the_panels(tmp_path: Path) -> None:
    plot(RESULTS, tmp_path / "two.png")
    plot(RESULTS[:2], tmp_path / "one.png")
    sizes = []
    for name in ("one", "two"):
        content = (tmp_path / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        sizes.append(int.from_bytes(content[20:24], "big"))
    assert sizes[1] == 2 * sizes[0]


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="results: expected at least one"):
        plot([], tmp_path / "none.png")
