from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.unit.training.experiments.logs import answer, event, write_log
from training.commands.experiments import experiments

FILE = """
experiments:
  - {name: ranker, layer: x, arms: [{name: base}, {name: deep, parameters: {ranker: din}}]}
  - {name: duel, layer: y, kind: interleave, where: {surface: [home]},
     arms: [{name: old}, {name: new, parameters: {diversity: 0.5}}]}
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 people, two arms that differ much, an interleaved experiment that `new` wins, and some exploration."""
    rng = np.random.default_rng(11)
    answers: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number in range(1800):
        person, request_id = number % 600, f"r{number}"
        arm = ("base", "deep")[person % 2]
        columns: dict[str, Any] = {
            "teams": ["old", "new", "old"],
            "rivals": json.dumps([{"arm": "old"}, {"arm": "new"}]),
        }
        if number % 3 == 0:
            columns = {
                "exploration_epsilon": 0.5,
                "propensities": [1, 1, 0.5],
                "ranking_positions": [1, 2, 3 + number % 2],
            }
        arms = {"ranker": arm} if number % 3 == 0 else {"ranker": arm, "duel": "interleaved"}
        answers.append(answer(request_id, f"p{person}", arms, **columns))
        events += [
            event(f"{number}{item}", request_id, f"p{person}", item)
            for item, rate in (("a", 0.02), ("b", 0.3 if arm == "deep" else 0.05))
            if rng.random() < rate
        ]
    return write_log(tmp_path_factory.mktemp("experiments") / "log", answers, events)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiments.yaml"
    path.write_text(FILE)
    return path


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(experiments, [str(each) for each in arguments])


def test_report_tells_arms_wins_and_exploration_and_labels_its_intervals(log: Path, file: Path) -> None:
    result = invoke("report", "--log", log, "--file", file, "--interval", "both")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    base, deep = (next(line for line in lines if line.strip().startswith(arm)) for arm in ("base", "deep"))
    assert "300" in base
    assert "900" in base
    assert "control" in base
    assert deep.count("[0.") == 4
    new = next(line for line in lines if line.strip().startswith("new"))
    assert "old" in new
    assert "1,200" in new
    assert "sequential: sequentially valid: may be looked at at any time" in result.output
    assert "fixed-horizon: fixed horizon: holds for one look" in result.output
    assert "without exploration: clicked" in result.output
    assert all(any(line.strip().startswith(name) for line in lines) for name in ("logged", "IPS", "SNIPS", "DR"))


def test_sequential_intervals_are_the_default_and_one_experiment_can_be_chosen(log: Path) -> None:
    result = invoke("report", "--log", log, "--experiment", "ranker")
    assert result.exit_code == 0, result.output
    assert "fixed-horizon:" not in result.output
    assert "duel" not in result.output


def test_a_forest_plot_is_drawn(log: Path, tmp_path: Path) -> None:
    result = invoke("report", "--log", log, "--plot", tmp_path / "forest.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_told_in_a_line(log: Path, tmp_path: Path) -> None:
    result = invoke("report", "--log", log, "--plot", tmp_path / "nowhere" / "forest.png")
    assert result.exit_code == 1
    assert "Error: --plot: expected a file that can be written: No such file or directory" in result.output


def test_what_the_log_does_not_have_is_said(log: Path, tmp_path: Path) -> None:
    result = invoke("report", "--log", log, "--experiment", "gone")
    assert result.exit_code == 1
    assert "expected one of the log's (duel, ranker), received 'gone'" in result.output
    assert (
        "nobody did 'clickd' with what was shown, only clicked"
        in invoke("report", "--log", log, "--experiment", "ranker", "--action", "clickd").output
    )
    (tmp_path / "none").mkdir()
    assert "expected files of a log" in invoke("report", "--log", tmp_path / "none").output
    empty = write_log(tmp_path / "empty", [])
    assert "nothing was done with anything that was shown" in invoke("report", "--log", empty).output
    assert "expected arms to compare" in invoke("report", "--log", empty, "--plot", tmp_path / "x.png").output


def test_check_compares_the_arms_with_their_weights(log: Path, file: Path) -> None:
    result = invoke("check", file, "--log", log)
    assert result.exit_code == 0, result.output
    assert "base 300, deep 300" in result.output
    assert "as it should be" in result.output


def test_check_finds_an_arm_that_loses_people(log: Path, file: Path) -> None:
    file.write_text(FILE.replace("{name: base}", "{name: base, weight: 2}"))
    result = invoke("check", file, "--log", log)
    assert result.exit_code == 1
    assert "MISMATCH" in result.output
    assert "sample ratio mismatch (p < 0.001) in ranker" in result.output


def test_a_wrong_file_is_told_line_by_line(log: Path, file: Path) -> None:
    file.write_text("experiments: [{name: e, traffic: 2, unit: x, arms: [{name: a}]}]")
    result = invoke("check", file, "--log", log)
    assert result.exit_code == 1
    assert result.output.count("experiments.yaml: experiment 'e': ") == 2
