"""The file of the SQLite user store: its tables, and how a connection to it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.users.store import UserStoreUnavailable

BUSY_SECONDS = 5.0
"""How long a connection waits for another one's write."""

# How long to wait for others to have read what the log holds.
_WIPE_MILLISECONDS = 50
_APPLICATION_ID = 0x54775374  # "TwSt", so that other programs' files are recognised and left alone
_VERSION = 2

# events is its own index: the rows of a person lie together and in order, so that reading the newest ones is one
# descent into one tree. Ids repeat per event where numbers would need a look-up each.
_TABLES = """
CREATE TABLE users (
    user_number INTEGER PRIMARY KEY,
    user_id     TEXT NOT NULL UNIQUE
);
CREATE TABLE actions (
    action_number INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE
);
CREATE TABLE events (
    user_number   INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
    item_id       TEXT    NOT NULL,
    action_number INTEGER NOT NULL,
    value         REAL,
    time_seconds  INTEGER NOT NULL,
    event_id      TEXT,
    request_id    TEXT,
    PRIMARY KEY (user_number, sequence)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_id ON events (event_id) WHERE event_id IS NOT NULL;
CREATE TABLE imports (
    fingerprint  TEXT PRIMARY KEY,
    people_count INTEGER NOT NULL,
    event_count  INTEGER NOT NULL,
    finished     INTEGER NOT NULL
)
"""

# What each version adds to the one before; the first one's files are still met, and every file goes the same way.
# From 2 on an event's name is one among its person's, people may expire, and those who were forgotten stay so.
_SINCE = {
    2: """
ALTER TABLE users ADD COLUMN expires_seconds INTEGER;
CREATE INDEX users_by_expiry ON users (expires_seconds) WHERE expires_seconds IS NOT NULL;
DROP INDEX events_by_id;
CREATE UNIQUE INDEX events_by_id ON events (user_number, event_id) WHERE event_id IS NOT NULL;
CREATE TABLE forgotten (digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE digest_key (key BLOB NOT NULL);
INSERT INTO digest_key VALUES (randomblob(32))
"""
}


def open_users_file(path: Path) -> sqlite3.Connection:
    """Opens the file for writing and makes its tables when there are none.

    Args:
        path: The file; it and its folder are made when they do not exist.

    Returns:
        A connection in autocommit mode that any one thread at a time may use.

    Raises:
        UserStoreUnavailable: It cannot be opened, is no user store, or has another version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = connect(path)
    except (OSError, sqlite3.Error) as error:
        raise UserStoreUnavailable(f"{path}: expected a file that can be written, received: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode this loses no event when the process dies, and the newest ones when the machine does.
        connection.execute("PRAGMA synchronous = NORMAL")
        # People who are forgotten leave no trace in freed pages.
        connection.execute("PRAGMA secure_delete = ON")
        _prepare_tables(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise UserStoreUnavailable(f"{path}: expected a user store, received: {error}") from error
    except UserStoreUnavailable:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """Opens a connection in autocommit mode that any one thread at a time may use; checks nothing."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def read_digest_key(connection: sqlite3.Connection) -> bytes:
    """The key of the digests of those who were forgotten."""
    return bytes(connection.execute("SELECT key FROM digest_key").fetchone()[0])


def wipe_log(connection: sqlite3.Connection) -> bool:
    """Moves what the log holds into the file and cuts the log to nothing, if nobody reads from it for a moment.

    Returns:
        Whether it could; else try again later.
    """
    connection.execute(f"PRAGMA busy_timeout = {_WIPE_MILLISECONDS}")
    try:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    return not busy


def action_number(connection: sqlite3.Connection, name: str) -> int:
    """The number of an action's name, made when it is new; call it inside a write transaction."""
    connection.execute("INSERT INTO actions (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    row = connection.execute("SELECT action_number FROM actions WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def _prepare_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables in an empty or older file, once when several processes open it at the same time."""
    if _recognise(connection, path) == _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _recognise(connection, path)
        parts = [] if version else [_TABLES]
        parts += [_SINCE[number] for number in range(max(version, 1) + 1, _VERSION + 1)]
        for statement in ";".join(parts).split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _recognise(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a user store, 0 for an empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (table_count,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    if not table_count:
        return 0
    if application != _APPLICATION_ID:
        raise UserStoreUnavailable(f"{path}: expected a user store, received another program's SQLite file")
    if not 1 <= version <= _VERSION:
        raise UserStoreUnavailable(
            f"{path}: expected a user store of version {_VERSION} or before, received version {version}"
        )
    return int(version)
