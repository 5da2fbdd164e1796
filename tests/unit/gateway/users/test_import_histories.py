from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.engine.taste import TasteRule
from gateway.users import import_histories as module
from gateway.users.import_histories import ImportResult, import_histories, main
from gateway.users.opening import UsersAccess, open_user_store
from gateway.users.redis_import import RedisImport
from gateway.users.sqlite_import import SqliteImport
from gateway.users.store import MAX_KEPT_EVENT_COUNT, NewEvent, UserStore, UserStoreUnavailable
from tests.contract.user_store.stores import place
from tests.redis_server import MISSING, RedisServer
from tests.unit.gateway.catalogue import SCHEMA
from tests.unit.gateway.users.histories import write
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.histories import UserHistory, read_histories

RULE = TasteRule(SCHEMA)


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


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer | None]:
    if MISSING:
        yield None
        return
    with RedisServer() as running:
        yield running


@pytest.fixture(params=["sqlite", "redis"])
def users(request: pytest.FixtureRequest, tmp_path: Path, server: RedisServer | None) -> Iterator[str]:
    """Where an empty user store is."""
    if request.param == "redis" and MISSING:
        pytest.skip("redis-server is not installed")
    with place(request.param, tmp_path, server) as made:
        yield made.location


def open_store(users: str) -> UserStore:
    return open_user_store(UsersAccess(users, timeout_seconds=10))


def stored(users: str, user_id: str) -> tuple[list[tuple[str, str, float | None, int]], list[str]] | None:
    store = open_store(users)
    try:
        found = store.read(user_id, RULE)
    finally:
        store.close()
    return (
        None
        if found is None
        else ([(e.item_id, e.action, e.value, e.time_seconds) for e in found.taste], list(found.seen_item_ids))
    )


def test_known_people_are_known_after_the_import(users: str, histories: Path) -> None:
    assert import_histories(users, histories) == ImportResult(3, 4, already_there=False)
    assert stored(users, "ann") == (
        [("i3", "rated", 5.0, 10), ("i4", "to_read", None, 20)],
        ["i5", "i4", "i3"],
    )
    assert stored(users, "bob") == ([("i1", "to_read", None, 0)], ["i1"])
    assert stored(users, "eve") is None


def test_the_same_histories_are_imported_once(users: str, histories: Path) -> None:
    import_histories(users, histories)
    before = stored(users, "ann")
    assert import_histories(users, histories) == ImportResult(3, 4, already_there=True)
    assert stored(users, "ann") == before


def test_a_forgotten_person_is_not_brought_back_by_the_same_histories(users: str, histories: Path) -> None:
    import_histories(users, histories)
    store = open_store(users)
    store.forget("ann")
    store.close()
    import_histories(users, histories)
    assert stored(users, "ann") is None


def test_what_people_did_since_stays_the_newest(users: str, histories: Path) -> None:
    store = open_store(users)
    store.record([NewEvent("live", "ann", "i9", "to_read", None, 99)])
    store.close()
    import_histories(users, histories)
    found = stored(users, "ann")
    assert found is not None
    assert found[1] == ["i9", "i5", "i4", "i3"]


def test_newer_histories_replace_what_older_ones_gave(users: str, tmp_path: Path, histories: Path) -> None:
    import_histories(users, histories)
    store = open_store(users)
    store.record([NewEvent("live", "ann", "i9", "to_read", None, 99)])
    store.close()
    import_histories(users, write(tmp_path / "newer", {"ann": [(7, "rated", 4.0, 5), (8, "rated", 4.0, 6)]}))
    found = stored(users, "ann")
    assert found is not None
    assert found[1] == ["i9", "i8", "i7"]
    assert stored(users, "bob") is not None


def test_a_forgotten_person_is_not_brought_back_by_newer_histories(users: str, tmp_path: Path, histories: Path) -> None:
    import_histories(users, histories)
    store = open_store(users)
    assert store.forget("ann") == 3
    assert store.forget("nobody") is None
    newer = write(tmp_path / "newer", {"ann": [(7, "rated", 4.0, 5)], "nobody": [(7, "rated", 4.0, 5)]})
    assert import_histories(users, newer) == ImportResult(2, 1, already_there=False)
    assert stored(users, "ann") is None
    assert stored(users, "nobody") is not None
    # What they do from now on counts again, and from now on only.
    store.record([NewEvent("live", "ann", "i9", "to_read", None, 99)])
    store.close()
    import_histories(users, write(tmp_path / "newest", {"ann": [(8, "rated", 4.0, 5)]}))
    assert stored(users, "ann") == ([("i9", "to_read", None, 99)], ["i9"])


def test_no_more_is_kept_than_of_what_people_do(users: str, tmp_path: Path) -> None:
    store = open_store(users)
    store.record([NewEvent(f"live-{number}", "ann", "i9", "to_read", None, 99) for number in range(3)])
    many = [(number % 8, "to_read", float("nan"), number) for number in range(MAX_KEPT_EVENT_COUNT + 5)]
    folder = write(tmp_path / "histories", {"ann": many, "bob": many})
    result = import_histories(users, folder)
    assert result.event_count == 2 * MAX_KEPT_EVENT_COUNT - 3
    for user, first, last in (("ann", 8, 99), ("bob", 5, MAX_KEPT_EVENT_COUNT + 4)):
        record = store.describe(user, MAX_KEPT_EVENT_COUNT)
        assert record is not None
        assert (record.event_count, len(record.events)) == (MAX_KEPT_EVENT_COUNT, MAX_KEPT_EVENT_COUNT)
        assert (record.events[-1].time_seconds, record.events[0].time_seconds) == (first, last)
        assert record.events[-1].event_id == ""
    # The oldest of the import go first.
    store.record([NewEvent(f"more-{number}", "ann", "i9", "to_read", None, 100) for number in range(2)])
    record = store.describe("ann", MAX_KEPT_EVENT_COUNT)
    assert record is not None
    assert [e.event_id for e in record.events[:6]] == ["more-1", "more-0", "live-2", "live-1", "live-0", ""]
    assert (record.event_count, record.events[-1].time_seconds) == (MAX_KEPT_EVENT_COUNT, 10)
    for start in range(0, MAX_KEPT_EVENT_COUNT - 1, 1_000):
        batch = range(start, min(start + 1_000, MAX_KEPT_EVENT_COUNT - 1))
        store.record([NewEvent(f"last-{number}", "ann", "i9", "to_read", None, 101) for number in batch])
    record = store.describe("ann", MAX_KEPT_EVENT_COUNT)
    assert record is not None
    assert (record.event_count, record.events[-1].event_id) == (MAX_KEPT_EVENT_COUNT, "more-1")
    store.close()


def test_people_who_are_new_by_an_import_are_kept_no_longer_than_others(users: str, histories: Path) -> None:
    store = open_store(users)
    store.record([NewEvent("live", "ann", "i9", "to_read", None, 99)])
    import_histories(UsersAccess(users, ttl_days=1.0), histories)
    known, new = store.describe("ann", 0), store.describe("bob", 0)
    assert known is not None
    assert new is not None
    assert known.expires_seconds is None
    assert new.expires_seconds is not None
    assert abs(new.expires_seconds - time.time() - 86_400) < 60
    store.close()


def test_an_interrupted_import_is_taken_up_where_it_stopped(
    users: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {f"user-{number}": [(number % 10, "to_read", float("nan"), number)] for number in range(25)}
    folder = write(tmp_path / "histories", people)
    for target in (SqliteImport, RedisImport):
        monkeypatch.setattr(target, "people_per_write", 4)

    def interrupted(source: Path) -> Iterator[UserHistory]:
        for number, person in enumerate(read_histories(source)):
            if number == 10:
                raise KeyboardInterrupt
            yield person

    with monkeypatch.context() as patched:
        patched.setattr(module, "read_histories", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_histories(users, folder)
    assert stored(users, "user-7") is not None
    assert stored(users, "user-8") is None

    progress: list[int] = []
    assert import_histories(users, folder, on_progress=progress.append) == ImportResult(25, 25, already_there=False)
    assert progress == [12, 16, 20, 24, 25]
    assert all(
        stored(users, user) == ([(f"i{n % 10}", "to_read", None, n)], [f"i{n % 10}"]) for n, user in enumerate(people)
    )


def test_two_imports_at_once_do_not_import_anybody_twice(
    users: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {f"user-{number}": [(1, "to_read", float("nan"), 0)] for number in range(9)}
    folder = write(tmp_path / "histories", people)
    for target in (SqliteImport, RedisImport):
        monkeypatch.setattr(target, "people_per_write", 4)

    def meanwhile(done: int) -> None:
        if done == 4:
            import_histories(users, folder)

    with pytest.raises(UserStoreUnavailable, match="another process imports the same histories"):
        import_histories(users, folder, on_progress=meanwhile)
    assert stored(users, "user-5") == ([("i1", "to_read", None, 0)], ["i1"])


def test_a_missing_or_corrupt_folder_is_refused(users: str, tmp_path: Path, histories: Path) -> None:
    with pytest.raises(BundleCorrupt):
        import_histories(users, tmp_path / "nowhere")
    np.save(histories / "rows.npy", np.array([1, 2, 3, 10_000], np.uint32))
    with pytest.raises(BundleCorrupt, match="within bounds"):
        import_histories(users, histories)


def test_the_program_says_what_it_did(
    users: str, tmp_path: Path, histories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--users", users, "--histories", str(histories)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("import: 3 people, 4 events in ")
    assert main(arguments) == 0
    assert capsys.readouterr().out == "import: 3 people were already there\n"
    assert main(["--users", users, "--histories", str(tmp_path / "nix")]) == 1
    assert capsys.readouterr().err.startswith("import: error: ")
