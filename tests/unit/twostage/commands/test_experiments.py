from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from twostage.cli import main

EXAMPLE = Path(__file__).parents[4] / "examples" / "experiments.yaml"


def test_check_shows_who_gets_what() -> None:
    result = CliRunner().invoke(main, ["experiments", "check", str(EXAMPLE)])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["ranking", "0", "to", "500,000", "50.00%", "ranker-2", "user_id", "control", "25.00%", "nothing"] in lines
    assert ["ranking", "25.00%", "free"] in lines
    assert any(line[:3] == ["more", "2.50%", "sources"] for line in lines)
    assert any(line[-2:] == ["surface", "home"] for line in lines)


def test_check_tells_every_complaint(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("experiments: [{name: e, traffic: 2, unit: x, arms: [{name: a}]}]")
    result = CliRunner().invoke(main, ["experiments", "check", str(path)])
    assert result.exit_code == 1
    assert result.output.count("mine.yaml: experiment 'e': ") == 2


@pytest.mark.parametrize(
    ("arguments", "handed"),
    [
        (["check", str(EXAMPLE), "--log", "."], ("check", str(EXAMPLE), "--log", ".")),
        (["report", "--log", "x", "--plot", "y.png"], ("report", "--log", "x", "--plot", "y.png")),
        (["report", "--help"], ("report", "--help")),
    ],
)
def test_what_reads_a_log_is_handed_to_training(
    arguments: list[str], handed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr("twostage.commands.experiments.hand_over", lambda command, given: seen.append((command, given)))
    assert CliRunner().invoke(main, ["experiments", *arguments]).exit_code == 0
    assert seen == [("experiments", handed)]
