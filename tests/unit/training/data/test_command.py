from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.training.data.published_files import goodbooks, write_files
from training.commands.data import data
from training.data import fetch


def run(*arguments: str) -> Result:
    """Runs ``twostage data`` with arguments, on a terminal wide enough for every line."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(data, list(arguments))


def test_what_is_synthesised_can_be_checked(tmp_path: Path) -> None:
    made = run("synthesize", "--out", str(tmp_path / "made"), "--items", "60", "--users", "20", "--seed", "4")
    checked = run("check", str(tmp_path / "made"))

    assert (made.exit_code, checked.exit_code) == (0, 0), made.output + checked.output
    assert "60 items and what 20 people did" in made.output
    for expected in ("synthetic-60-20-4", "split time_cut", "action liked", "tags (100.0%)", "fingerprint"):
        assert expected in checked.output


def test_a_check_counts_and_shows_notes(tmp_path: Path) -> None:
    checked = run("check", str(write_files(tmp_path, goodbooks())))

    assert "3, 3 of them with interactions" in checked.output
    assert "rated 3, to_read 2" in checked.output
    assert "83.333% of the pairs" in checked.output
    assert "language_code (66.7%)" in checked.output
    assert "1 repeats of a person, book and action dropped" in checked.output


def test_bad_data_is_one_clear_line_and_exit_code_1(tmp_path: Path) -> None:
    bad = goodbooks(ratings="book_id,user_id,rating\n1,7,many\n")

    checked = run("check", str(write_files(tmp_path, bad)))

    assert checked.exit_code == 1
    assert checked.output.splitlines()[-1] == "Error: ratings.csv, line 2, column rating: expected a number, got 'many'"
    assert "Traceback" not in checked.output


def test_a_fetch_without_network_is_one_clear_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.fetch_goodbooks, "__kwdefaults__", {
        **(fetch.fetch_goodbooks.__kwdefaults__ or {}), "base_url": "http://127.0.0.1:9/",
    })  # fmt: skip

    fetched = run("fetch", "goodbooks", "--out", str(tmp_path), "--timeout-seconds", "2")

    assert fetched.exit_code == 1
    assert "Error: books.csv: cannot be downloaded from http://127.0.0.1:9/books.csv" in fetched.output


def test_a_size_of_0_is_refused(tmp_path: Path) -> None:
    made = run("synthesize", "--out", str(tmp_path), "--items", "0")

    assert made.exit_code == 2
    assert "--items" in made.output


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    made = run("synthesize", "--out", str(tmp_path / "file" / "below"))

    assert made.exit_code == 1
    assert "cannot write to" in made.output
