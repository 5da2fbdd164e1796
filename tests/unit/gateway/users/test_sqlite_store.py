from __future__ import annotations

import resource
import signal
import sqlite3
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
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(UserStoreUnavailable, match="version 1, received version 2"):
        SqliteUserStore(path)


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
