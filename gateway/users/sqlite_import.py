"""Imports into a user store in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.users.forgotten import person_digest
from gateway.users.import_target import ImportProgress
from gateway.users.sqlite_schema import action_number, open_users_file, read_digest_key
from gateway.users.store import MAX_KEPT_EVENT_COUNT, UserStoreUnavailable
from twostage.bundle.histories import UserHistory

_INSERT = "INSERT INTO events (user_number, sequence, item_id, action_number, value, time_seconds) VALUES (?,?,?,?,?,?)"
_MARK = "INSERT OR REPLACE INTO imports (fingerprint, people_count, event_count, finished) VALUES (?, ?, ?, ?)"


class SqliteImport:
    """A SQLite file to import into; implements :class:`gateway.users.import_target.ImportTarget`.

    Args:
        path: The file, made when it does not exist.
        ttl_seconds: How long people are kept who are new; None for ever.
        clock: Unix seconds.

    Raises:
        UserStoreUnavailable: It cannot be opened, is no user store, or has a newer version.
    """

    people_per_write = 1_000

    def __init__(self, path: Path, *, ttl_seconds: int | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._connection = open_users_file(path)
        self._digest_key = read_digest_key(self._connection)

    def progress(self, fingerprint: str) -> ImportProgress:
        """How far the import has come; see :meth:`ImportTarget.progress`."""
        query = "SELECT people_count, event_count, finished FROM imports WHERE fingerprint = ?"
        with self._told():
            row = self._connection.execute(query, (fingerprint,)).fetchone()
        return ImportProgress() if row is None else ImportProgress(int(row[0]), int(row[1]), bool(row[2]))

    def write(self, fingerprint: str, done: ImportProgress, people: Sequence[UserHistory]) -> ImportProgress:
        """Stores people's histories; see :meth:`ImportTarget.write`."""
        with self._told(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            if self.progress(fingerprint) != done:
                raise UserStoreUnavailable(f"{self._path}: another process imports the same histories")
            names = {name for person in people for name in set(person.actions)}
            actions = {name: action_number(connection, name) for name in names}
            event_count = sum(self._write_person(person, actions) for person in people)
            after = ImportProgress(done.people_count + len(people), done.event_count + event_count)
            connection.execute(_MARK, (fingerprint, after.people_count, after.event_count, False))
        return after

    def finish(self, fingerprint: str, done: ImportProgress) -> None:
        """Notes that an import is whole; see :meth:`ImportTarget.finish`."""
        with self._told(), self._connection as connection:
            connection.execute(_MARK, (fingerprint, done.people_count, done.event_count, True))

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _write_person(self, person: UserHistory, actions: dict[str, int]) -> int:
        """Stores a person's history; returns how many events."""
        digest = person_digest(self._digest_key, person.user_id)
        forgotten = self._connection.execute("SELECT 1 FROM forgotten WHERE digest = ?", (digest,)).fetchone()
        if forgotten or not person.item_ids:
            return 0
        user, last, room = self._place(person.user_id)
        count = min(len(person.item_ids), room)
        entries = list(zip(person.item_ids, person.actions, person.values, person.times, strict=True))
        self._connection.executemany(
            _INSERT,
            (
                # SQLite has no NaN: it stores one as NULL, which is what a missing value is.
                (user, last - count + 1 + position, item_id, actions[action], value, time_seconds)
                for position, (item_id, action, value, time_seconds) in enumerate(entries[len(entries) - count :])
            ),
        )
        return count

    def _place(self, user_id: str) -> tuple[int, int, int]:
        """A person's number, the sequence of their last imported event, and how many there may be."""
        now = int(self._clock())
        found = self._connection.execute(
            "SELECT user_number, expires_seconds IS NOT NULL AND expires_seconds <= ? FROM users WHERE user_id = ?",
            (now, user_id),
        ).fetchone()
        expires = None if self._ttl_seconds is None else now + self._ttl_seconds
        if found is None:
            added = self._connection.execute(
                "INSERT INTO users (user_id, expires_seconds) VALUES (?, ?) RETURNING user_number", (user_id, expires)
            ).fetchone()
            return int(added[0]), MAX_KEPT_EVENT_COUNT, MAX_KEPT_EVENT_COUNT
        user, expired = found
        # What an earlier import gave goes, and all of somebody whose time is over.
        self._connection.execute(
            "DELETE FROM events WHERE user_number = ? AND (event_id IS NULL OR ?)", (user, expired)
        )
        if expired:
            self._connection.execute("UPDATE users SET expires_seconds = ? WHERE user_number = ?", (expires, user))
        count, oldest = self._connection.execute(
            "SELECT COUNT(*), MIN(sequence) FROM events WHERE user_number = ?", (user,)
        ).fetchone()
        return int(user), MAX_KEPT_EVENT_COUNT if oldest is None else int(oldest) - 1, MAX_KEPT_EVENT_COUNT - int(count)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells what SQLite says in the store's own words."""
        try:
            yield
        except sqlite3.Error as error:
            raise UserStoreUnavailable(f"{self._path}: cannot be written: {error}") from error
