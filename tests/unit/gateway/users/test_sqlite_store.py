from __future__ import annotations

import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.engine.taste import TasteRule
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent, UserStoreUnavailable
from tests.unit.gateway.catalogue import SCHEMA


def event(number: int, request_id: str = "") -> NewEvent:
    return NewEvent(f"e{number}", "ann", f"i{number}", "to_read", None, number, request_id)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserStoreUnavailable, match=r"users\.sqlite: expected a user store, received: file is not"):
        SqliteUserStore(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (a)")
    connection.close()
    with pytest.raises(UserStoreUnavailable, match="another program's SQLite file"):
        SqliteUserStore(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    SqliteUserStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(UserStoreUnavailable, match="version 2 or before, received version 3"):
        SqliteUserStore(path)


def test_a_file_of_the_first_version_is_taken_over_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    connection = sqlite3.connect(path)
    # As the first version made it.
    connection.executescript(_FIRST_VERSION)
    connection.close()
    store = SqliteUserStore(path, ttl_seconds=60)
    record = store.describe("ann", 10)
    assert record is not None
    assert record.expires_seconds is None
    assert [(e.event_id, e.item_id, e.action, e.value) for e in record.events] == [
        ("e2", "i2", "to_read", None),
        ("", "i1", "rated", 4.0),
    ]
    assert store.record([event(2), event(3)]) == 1
    assert store.forget("ann") == 3
    store.close()
    # The second time it is one of the second version.
    SqliteUserStore(path).close()


_FIRST_VERSION = """
PRAGMA journal_mode = WAL;
CREATE TABLE users (user_number INTEGER PRIMARY KEY, user_id TEXT NOT NULL UNIQUE);
CREATE TABLE actions (action_number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE events (
    user_number INTEGER NOT NULL, sequence INTEGER NOT NULL, item_id TEXT NOT NULL, action_number INTEGER NOT NULL,
    value REAL, time_seconds INTEGER NOT NULL, event_id TEXT, request_id TEXT, PRIMARY KEY (user_number, sequence)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_id ON events (event_id) WHERE event_id IS NOT NULL;
CREATE TABLE imports (
    fingerprint TEXT PRIMARY KEY, people_count INTEGER NOT NULL, event_count INTEGER NOT NULL, finished INTEGER NOT NULL
);
INSERT INTO users VALUES (1, 'ann');
INSERT INTO actions VALUES (1, 'rated'), (2, 'to_read');
INSERT INTO events VALUES (1, 1, 'i1', 1, 4.0, 5, NULL, NULL), (1, 2, 'i2', 2, NULL, 6, 'e2', NULL);
PRAGMA application_id = 0x54775374;
PRAGMA user_version = 1;
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_whose_time_is_over_is_swept_out_of_the_file(tmp_path: Path) -> None:
    path, clock = tmp_path / "users.sqlite", Clock()
    store = SqliteUserStore(path, ttl_seconds=100, clock=clock)
    store.record([NewEvent(f"e{n}", f"person-{n:04}", "i1", "to_read", None, 1) for n in range(250)])
    clock.now += 50
    store.record([event(1)])
    clock.now += 51
    assert store.read("person-0001", TasteRule(SCHEMA)) is None
    assert store.read("ann", TasteRule(SCHEMA)) is not None
    assert b"person-0001" in content(tmp_path)
    sweeper = store._sweeper
    assert [sweeper.sweep() for _ in range(4)] == [100, 100, 50, 0]
    sweeper.wipe_soon()
    until(lambda: b"person-0001" not in content(tmp_path))
    assert b"person-" not in content(tmp_path)
    assert b"ann" in content(tmp_path)
    store.close()


def test_a_forgotten_person_leaves_the_log_when_a_long_read_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    store = SqliteUserStore(path)
    store.record([NewEvent("e", "mrs-remarkable", "i1", "to_read", None, 1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM users").fetchall()
    assert store.forget("mrs-remarkable") == 1
    assert b"mrs-remarkable" in content(tmp_path), "else nothing had to wait"
    other.execute("COMMIT")
    until(lambda: b"mrs-remarkable" not in content(tmp_path))
    other.close()
    store.close()


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserStoreUnavailable, match="expected a file that can be written"):
        SqliteUserStore(tmp_path / "file" / "users.sqlite")


def test_a_locked_file_fails_the_write_and_not_the_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.users.sqlite_schema.BUSY_SECONDS", 0.05)
    store = SqliteUserStore(tmp_path / "users.sqlite")
    store.record([event(1)])
    other = sqlite3.connect(tmp_path / "users.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserStoreUnavailable, match="cannot be written: database is locked"):
        store.record([event(2)])
    assert store.read("ann", TasteRule(SCHEMA)) is not None
    other.execute("ROLLBACK")
    assert store.record([event(2)]) == 1
    other.close()
    store.close()


def test_a_full_disk_fails_the_write_stores_nothing_and_reading_goes_on(tmp_path: Path) -> None:
    store = SqliteUserStore(tmp_path / "users.sqlite")
    store.record([event(0)])

    def fill() -> None:
        for batch in range(100):
            store.record([event(1 + 100 * batch + number, "r" * 128) for number in range(100)])

    # A file-size limit is a full disk as the database sees it.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
        with pytest.raises(UserStoreUnavailable, match="cannot be written"):
            fill()
        stored = store.read("ann", TasteRule(SCHEMA))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert stored is not None
    assert len(stored.seen_item_ids) % 100 == 1, "a failed batch must leave nothing behind"
    assert store.record([event(999_999)]) == 1
    store.close()


def test_a_forgotten_persons_ids_are_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    store = SqliteUserStore(path)
    store.record([NewEvent("e", "mrs-remarkable", "an-item-of-hers", "to_read", None, 1)])
    store.forget("mrs-remarkable")
    store.close()
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert b"mrs-remarkable" not in content
        assert b"an-item-of-hers" not in content
