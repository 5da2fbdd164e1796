"""The file of the SQLite user store: its tables, and how a connection to it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.users.store import UserStoreUnavailable

BUSY_SECONDS = 5.0
"""How long a connection waits for another one's write."""

_APPLICATION_ID = 0x54775374  # "TwSt", so that other programs' files are recognised and left alone
_VERSION = 1

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
);
"""


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


def action_number(connection: sqlite3.Connection, name: str) -> int:
    """The number of an action's name, made when it is new; call it inside a write transaction."""
    connection.execute("INSERT INTO actions (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    row = connection.execute("SELECT action_number FROM actions WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def _prepare_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables in an empty file, once when several processes open it at the same time."""
    if _recognise(connection, path):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _recognise(connection, path):
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _recognise(connection: sqlite3.Connection, path: Path) -> bool:
    """True for a user store of this version, False for an empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (table_count,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    if not table_count:
        return False
    if application != _APPLICATION_ID:
        raise UserStoreUnavailable(f"{path}: expected a user store, received another program's SQLite file")
    if version != _VERSION:
        raise UserStoreUnavailable(f"{path}: expected a user store of version {_VERSION}, received version {version}")
    return True
