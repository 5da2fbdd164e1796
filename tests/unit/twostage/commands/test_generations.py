"""``twostage generations`` shows what there is, and fails in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.small_generation import publish_small
from twostage.bundle.errors import StoreUnreachable
from twostage.bundle.open_store import open_store
from twostage.bundle.remote_folder import RemoteFolder
from twostage.bundle.store import Store
from twostage.cli import main


def run(*arguments: str, location: str | Path) -> Result:
    return CliRunner().invoke(main, ["generations", *arguments, "--store", str(location)], catch_exceptions=False)


def rows(output: str) -> list[Sequence[str]]:
    """The table's cells, without its head."""
    lines = [[cell.strip() for cell in line.split("│")] for line in output.splitlines() if "│" in line]
    return [cells[1:-1] for cells in lines]


@pytest.fixture(params=["folder", "url"])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of generations 1, 2 and 3, of which the second is current."""
    monkeypatch.setenv("TWOSTAGE_CACHE", str(tmp_path / "caches"))
    location = str(tmp_path / "store")
    if request.param == "url":
        pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")
        location = f"file://{location}"
    store = open_store(location)
    for _ in range(3):
        publish_small(store)
    store.set_current(2)
    return location


@pytest.fixture
def folder(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def test_the_list_begins_with_the_newest_and_marks_current_and_previous(location: str) -> None:
    result = run("list", location=location)
    assert result.exit_code == 0, result.output
    assert [(cells[0], cells[2], cells[-1]) for cells in rows(result.stdout)] == [
        ("3", "2", ""),
        ("2", "2", "current"),
        ("1", "2", "previous"),
    ]


def test_a_generation_that_cannot_be_read_is_listed_with_its_reason(location: str, folder: Path) -> None:
    (folder / "generations" / "3" / "manifest.json").write_text("[bold]")
    result = run("list", location=location)
    assert result.exit_code == 0
    # The reason wraps in its cell.
    assert "JSON" in result.stdout
    assert [cells[0] for cells in rows(result.stdout) if cells[0]] == ["3", "2", "1"]


@pytest.mark.parametrize(("pointer", "complaint"), [("9\n", "generation 9 is not in the store"), ("x\n", "found 'x'")])
def test_a_broken_pointer_is_listed_with_and_fails(location: str, folder: Path, pointer: str, complaint: str) -> None:
    (folder / "CURRENT").write_text(pointer)
    result = run("list", location=location)
    assert result.exit_code == 1
    assert [cells[0] for cells in rows(result.stdout)] == ["3", "2", "1"]
    assert complaint in result.stderr


def test_an_empty_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for command in ("list", "verify", "rollback"):
        result = run(command, location=tmp_path / "empty")
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert "the store is empty" in line


def test_verify_counts_files_and_fails_with_the_name_of_a_bad_one(location: str, folder: Path) -> None:
    result = run("verify", location=location)
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [f"generation {n}" for n in (1, 2, 3)]
    bad = folder / "generations" / "2" / "items" / "popularity.npy"
    bad.write_bytes(bad.read_bytes()[:-1] + b"x")
    cache = open_store(location)
    cache.evict(2)
    result = run("verify", location=location)
    assert result.exit_code == 1
    assert "generation 2: " in result.stderr
    assert "popularity.npy: expected sha256" in result.stderr
    assert "1 generation(s) failed: 2" in result.stderr


def test_rollback_says_from_where_to_where(location: str) -> None:
    result = run("rollback", location=location)
    assert (result.exit_code, result.stdout) == (0, "generation 2 -> 1\n")
    assert open_store(location).current() == 1
    result = run("rollback", "--to", "3", location=location)
    assert (result.exit_code, result.stdout) == (0, "generation 1 -> 3\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "2"], "generation 2 is the current one"),
        (["--to", "9"], "generation 9 is not in the store; present: 1, 2, 3"),
        (["--to", "0"], "0 is not in the range"),
    ],
)
def test_rollback_refuses_in_one_line(location: str, arguments: list[str], complaint: str) -> None:
    result = run("rollback", *arguments, location=location)
    assert result.exit_code != 0
    assert complaint in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert open_store(location).current() == 2


def test_rollback_skips_a_bad_generation_unless_sums_are_not_asked_for(location: str, folder: Path) -> None:
    (folder / "models" / "content" / "1" / "saved_model.pb").write_bytes(b"b model")
    open_store(location).evict(1)
    result = run("rollback", location=location)
    assert result.exit_code == 1
    assert "saved_model.pb: expected sha256" in result.stderr
    assert open_store(location).current() == 2
    open_store(location).set_current(3)
    (folder / "models" / "content" / "2" / "saved_model.pb").write_bytes(b"b model")
    open_store(location).evict(2)
    result = run("rollback", "--no-verify", location=location)
    assert (result.exit_code, result.stdout) == (0, "generation 3 -> 2\n")


def test_rollback_reports_what_it_skips(location: str, folder: Path) -> None:
    open_store(location).set_current(3)
    (folder / "models" / "content" / "2" / "saved_model.pb").write_bytes(b"b model")
    open_store(location).evict(2)
    result = run("rollback", location=location)
    assert (result.exit_code, result.stdout) == (0, "generation 3 -> 1\n")
    assert "generation 2 is skipped: " in result.stderr


def test_remove_lets_go_of_what_nobody_holds(location: str, folder: Path) -> None:
    open_store(location).set_current(3)
    result = run("remove", "1", location=location)
    assert (result.exit_code, result.stdout) == (0, "generation 1: removed\n")
    assert open_store(location).generations() == [2, 3]
    assert not (folder / "generations" / "1").exists()
    assert not (folder / "models" / "content" / "1").exists()


def test_remove_keeps_so_many_of_the_newest_up_to_the_current_one(location: str) -> None:
    result = run("remove", "--keep", "2", location=location)
    assert (result.exit_code, result.stdout) == (0, "nothing to remove\n")
    open_store(location).set_current(3)
    result = run("remove", "--keep", "2", location=location)
    assert (result.exit_code, result.stdout) == (0, "generation 1: removed\n")
    assert open_store(location).generations() == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["1"], "generation 1 is the current one or the one before it"),
        (["3", "2"], "generation 2 is the current one or the one before it"),
        (["9"], "generation 9 is not in the store; present: 1, 2, 3"),
        (["3", "9"], "generation 9 is not in the store; present: 1, 2, 3"),
        (["--keep", "1"], "1 is not in the range"),
        ([], "expected one of them, received none"),
        (["1", "--keep", "2"], "expected one of them, received both"),
    ],
)
def test_remove_refuses_in_one_line_and_removes_nothing(location: str, arguments: list[str], complaint: str) -> None:
    result = run("remove", *arguments, location=location)
    assert result.exit_code != 0
    assert complaint in result.stderr.splitlines()[-1]
    assert open_store(location).generations() == [1, 2, 3]


def test_a_file_or_a_chain_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "expected a folder, found a file" in run("list", location=tmp_path / "file").stderr
    assert "a chain of them" in run("list", location="simplecache::s3://bucket/x").stderr


def test_what_could_not_be_sent_is_listed_and_sent_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")
    monkeypatch.setenv("TWOSTAGE_CACHE", str(tmp_path / "caches"))
    location = f"file://{tmp_path}/store"
    publish_small(open_store(location))
    assert run("upload", location=location).stdout == "nothing to send\n"
    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "upload", lambda *_: (_ for _ in ()).throw(StoreUnreachable("a", "gone")))
        with pytest.raises(StoreUnreachable):
            publish_small(open_store(location))
    result = run("list", location=location)
    assert "generation 2: written here but not sent" in result.stderr
    assert [cells[0] for cells in rows(result.stdout)] == ["1"]
    assert run("upload", location=location).stdout == "generation 2: sent\ngeneration 2 is current\n"
    assert Store(tmp_path / "store").current() == 2
    assert Store(tmp_path / "store").verify(2)


def test_what_is_sent_late_does_not_take_the_place_of_what_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")
    monkeypatch.setenv("TWOSTAGE_CACHE", str(tmp_path / "caches"))
    location = f"file://{tmp_path}/store"
    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "upload", lambda *_: (_ for _ in ()).throw(StoreUnreachable("a", "gone")))
        with pytest.raises(StoreUnreachable):
            publish_small(open_store(location))
    publish_small(open_store(location, cache=tmp_path / "another machine"))
    assert run("upload", location=location).stdout == "generation 1: sent\ngeneration 2 stays current, which is newer\n"
    assert Store(tmp_path / "store").current() == 2
    assert Store(tmp_path / "store").generations() == [1, 2]
