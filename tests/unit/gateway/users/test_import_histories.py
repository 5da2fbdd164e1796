from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.engine.taste import TasteRule
from gateway.users import import_histories as module
from gateway.users.import_histories import ImportResult, import_histories, main
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent, UserStoreUnavailable
from tests.unit.gateway.catalogue import SCHEMA
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.histories import UserHistory, read_histories, write_histories

RULE = TasteRule(SCHEMA)


def write(folder: Path, people: dict[str, list[tuple[int, str, float, int]]]) -> Path:
    recorded = ["rated", "to_read"]
    flat = [entry for entries in people.values() for entry in entries]
    write_histories(
        folder,
        user_ids=list(people),
        item_ids=[f"i{row}" for row in range(10)],
        recorded_actions=recorded,
        offsets=np.cumsum([0, *(len(entries) for entries in people.values())]),
        rows=np.array([entry[0] for entry in flat]),
        actions=np.array([recorded.index(entry[1]) for entry in flat]),
        values=np.array([entry[2] for entry in flat]),
        times=np.array([entry[3] for entry in flat]),
    )
    return folder


@pytest.fixture
def histories(tmp_path: Path) -> Path:
    nan = float("nan")
    return write(
        tmp_path / "histories",
        {
            "ann": [(3, "rated", 5.0, 10), (4, "to_read", nan, 20), (5, "rated", 1.0, 30)],
            "bob": [(1, "to_read", nan, 0)],
            "eve": [],
        },
    )


def stored(path: Path, user_id: str) -> tuple[list[tuple[str, str, float | None, int]], list[str]] | None:
    store = SqliteUserStore(path)
    try:
        found = store.read(user_id, RULE)
    finally:
        store.close()
    return (
        None
        if found is None
        else ([(e.item_id, e.action, e.value, e.time_seconds) for e in found.taste], list(found.seen_item_ids))
    )


def test_known_people_are_known_after_the_import(tmp_path: Path, histories: Path) -> None:
    path = tmp_path / "users.sqlite"
    assert import_histories(path, histories) == ImportResult(3, 4, already_there=False)
    assert stored(path, "ann") == (
        [("i3", "rated", 5.0, 10), ("i4", "to_read", None, 20)],
        ["i5", "i4", "i3"],
    )
    assert stored(path, "bob") == ([("i1", "to_read", None, 0)], ["i1"])
    assert stored(path, "eve") is None


def test_the_same_histories_are_imported_once(tmp_path: Path, histories: Path) -> None:
    path = tmp_path / "users.sqlite"
    import_histories(path, histories)
    before = stored(path, "ann")
    assert import_histories(path, histories) == ImportResult(3, 4, already_there=True)
    assert stored(path, "ann") == before


def test_a_forgotten_person_is_not_brought_back_by_the_same_histories(tmp_path: Path, histories: Path) -> None:
    path = tmp_path / "users.sqlite"
    import_histories(path, histories)
    store = SqliteUserStore(path)
    store.forget("ann")
    store.close()
    import_histories(path, histories)
    assert stored(path, "ann") is None


def test_what_people_did_since_stays_the_newest(tmp_path: Path, histories: Path) -> None:
    path = tmp_path / "users.sqlite"
    store = SqliteUserStore(path)
    store.record([NewEvent("live", "ann", "i9", "to_read", None, 99)])
    store.close()
    import_histories(path, histories)
    found = stored(path, "ann")
    assert found is not None
    assert found[1] == ["i9", "i5", "i4", "i3"]


def test_newer_histories_replace_what_older_ones_gave(tmp_path: Path, histories: Path) -> None:
    path = tmp_path / "users.sqlite"
    import_histories(path, histories)
    store = SqliteUserStore(path)
    store.record([NewEvent("live", "ann", "i9", "to_read", None, 99)])
    store.close()
    import_histories(path, write(tmp_path / "newer", {"ann": [(7, "rated", 4.0, 5), (8, "rated", 4.0, 6)]}))
    found = stored(path, "ann")
    assert found is not None
    assert found[1] == ["i9", "i8", "i7"]
    assert stored(path, "bob") is not None


def test_an_interrupted_import_is_taken_up_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = {f"user-{number}": [(number % 10, "to_read", float("nan"), number)] for number in range(25)}
    folder = write(tmp_path / "histories", people)
    path = tmp_path / "users.sqlite"
    monkeypatch.setattr(module, "_PEOPLE_PER_TRANSACTION", 4)

    def interrupted(source: Path) -> Iterator[UserHistory]:
        for number, person in enumerate(read_histories(source)):
            if number == 10:
                raise KeyboardInterrupt
            yield person

    with monkeypatch.context() as patched:
        patched.setattr(module, "read_histories", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_histories(path, folder)
    assert stored(path, "user-7") is not None
    assert stored(path, "user-8") is None

    progress: list[int] = []
    assert import_histories(path, folder, on_progress=progress.append) == ImportResult(25, 25, already_there=False)
    assert progress == [12, 16, 20, 24, 25]
    assert all(
        stored(path, user) == ([(f"i{n % 10}", "to_read", None, n)], [f"i{n % 10}"]) for n, user in enumerate(people)
    )


def test_two_imports_at_once_do_not_import_anybody_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = {f"user-{number}": [(1, "to_read", float("nan"), 0)] for number in range(9)}
    folder = write(tmp_path / "histories", people)
    path = tmp_path / "users.sqlite"
    monkeypatch.setattr(module, "_PEOPLE_PER_TRANSACTION", 4)

    def meanwhile(done: int) -> None:
        if done == 4:
            import_histories(path, folder)

    with pytest.raises(UserStoreUnavailable, match="another process imports the same histories"):
        import_histories(path, folder, on_progress=meanwhile)
    assert stored(path, "user-5") == ([("i1", "to_read", None, 0)], ["i1"])


def test_a_missing_or_corrupt_folder_is_refused(tmp_path: Path, histories: Path) -> None:
    with pytest.raises(BundleCorrupt):
        import_histories(tmp_path / "users.sqlite", tmp_path / "nowhere")
    np.save(histories / "rows.npy", np.array([1, 2, 3, 10_000], np.uint32))
    with pytest.raises(BundleCorrupt, match="within bounds"):
        import_histories(tmp_path / "users.sqlite", histories)


def test_the_program_says_what_it_did(tmp_path: Path, histories: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--users", str(tmp_path / "users.sqlite"), "--histories", str(histories)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("import: 3 people, 4 events in ")
    assert main(arguments) == 0
    assert capsys.readouterr().out == "import: 3 people were already there\n"
    assert main(["--users", str(tmp_path / "users.sqlite"), "--histories", str(tmp_path / "nix")]) == 1
    assert capsys.readouterr().err.startswith("import: error: ")
