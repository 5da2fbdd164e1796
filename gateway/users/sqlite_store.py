"""A user store in one SQLite file, for one machine."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from gateway.users.forgotten import person_digest
from gateway.users.sqlite_expiry import ExpirySweeper
from gateway.users.sqlite_schema import action_number, connect, open_users_file, read_digest_key, wipe_log
from gateway.users.store import (
    MAX_KEPT_EVENT_COUNT,
    MAX_SEEN_COUNT,
    KeptEvent,
    NewEvent,
    UserRecord,
    UserStoreUnavailable,
)
from twostage.features.history import HISTORY_LENGTH

# Most people's whole history; one query then answers both what they like and what they have seen.
_PAGE = 256

# Who expired is gone, also where nobody has swept yet.
_LIVING = "(SELECT user_number FROM users WHERE user_id = ? AND (expires_seconds IS NULL OR expires_seconds > ?))"
# CROSS JOIN tells SQLite the order: a person's events first, then the name of each one's action.
_FROM = f"FROM events CROSS JOIN actions USING (action_number) WHERE user_number = {_LIVING} "
_NEWEST = "ORDER BY sequence DESC LIMIT ?"
_EVENTS = f"SELECT item_id, name, value, time_seconds {_FROM} {_NEWEST}"
_KEPT = f"SELECT event_id, item_id, name, value, time_seconds, request_id {_FROM} {_NEWEST}"
_SEEN = f"SELECT item_id FROM events WHERE user_number = {_LIVING} {_NEWEST}"  # noqa: S608 - nothing of a request
_ABOUT = f"SELECT user_number, expires_seconds FROM users WHERE user_number = {_LIVING}"  # noqa: S608 - as above
_COUNT = "SELECT COUNT(*) FROM events WHERE user_number = ?"
_RECORD = (
    "INSERT INTO events (user_number, sequence, item_id, action_number, value, time_seconds, event_id, request_id) "
    "VALUES (:user, COALESCE((SELECT MAX(sequence) FROM events WHERE user_number = :user), 0) + 1, "
    ":item, :action, :value, :time, :event, :request) ON CONFLICT DO NOTHING"
)
# Sequences of a person have no gaps: new ones follow the last, and only the oldest go.
_TRIM = (
    "DELETE FROM events WHERE user_number = :user AND "
    "sequence <= (SELECT MAX(sequence) FROM events WHERE user_number = :user) - :kept"
)
_EXPIRE = "UPDATE users SET expires_seconds = :expires WHERE user_number = :user AND expires_seconds IS NOT :expires"


class SqliteUserStore:
    """People and what they did in one file; implements :class:`gateway.users.store.UserStore`.

    Writes go through one connection behind a lock, reads through one connection a thread; in WAL mode neither waits
    for the other. A committed event is visible to whoever reads next, in this process or another.

    Args:
        path: The file; it and its folder are made when they do not exist.
        ttl_seconds: How long after their last new event people are forgotten; None keeps them.
        clock: Unix seconds.

    Raises:
        UserStoreUnavailable: It cannot be opened, is no user store, or has a newer version.
    """

    def __init__(self, path: Path, *, ttl_seconds: int | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._writer = open_users_file(path)
        self._digest_key = read_digest_key(self._writer)
        self._writing = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._sweeper = ExpirySweeper(self._transaction, self._wipe, clock)
        self._sweeper.start()

    def read(
        self,
        user_id: str,
        rule: TasteRule,
        *,
        taste_count: int = HISTORY_LENGTH,
        seen_count: int = MAX_SEEN_COUNT,
    ) -> StoredUser | None:
        """Reads what is known of a person; see :meth:`UserStore.read`."""
        now = int(self._clock())
        with self._reading() as connection:
            # One statement for nearly everybody: each takes and gives back the locks of the file.
            events = connection.execute(_EVENTS, (user_id, now, min(_PAGE, seen_count))).fetchall()
            taste = rule.newest(events, taste_count)
            if len(events) < _PAGE or len(events) == seen_count:
                seen = [event[0] for event in events]
            elif len(taste) < taste_count:
                events = connection.execute(_EVENTS, (user_id, now, seen_count)).fetchall()
                taste = rule.newest(events, taste_count)
                seen = [event[0] for event in events]
            else:
                seen = [event[0] for event in connection.execute(_SEEN, (user_id, now, seen_count))]
        return StoredUser(taste=taste, seen_item_ids=list(dict.fromkeys(seen))) if seen else None

    def record(self, events: Sequence[NewEvent]) -> int:
        """Stores events, all or none; see :meth:`UserStore.record`."""
        now = int(self._clock())
        new_count = 0
        with self._transaction() as connection:
            users: dict[str, int] = {}
            changed: set[int] = set()
            actions = {name: action_number(connection, name) for name in {event.action for event in events}}
            for event in events:
                user = users.get(event.user_id)
                if user is None:
                    user = users[event.user_id] = _place(connection, event.user_id, now)
                added = connection.execute(
                    _RECORD,
                    {
                        "user": user,
                        "item": event.item_id,
                        "action": actions[event.action],
                        "value": event.value,
                        "time": event.time_seconds,
                        "event": event.event_id,
                        "request": event.request_id or None,
                    },
                ).rowcount
                if added:
                    new_count += 1
                    changed.add(user)
            expires = None if self._ttl_seconds is None else now + self._ttl_seconds
            for user in changed:
                connection.execute(_TRIM, {"user": user, "kept": MAX_KEPT_EVENT_COUNT})
                connection.execute(_EXPIRE, {"user": user, "expires": expires})
        return new_count

    def describe(self, user_id: str, max_event_count: int) -> UserRecord | None:
        """Reads all that is stored of a person; see :meth:`UserStore.describe`."""
        now = int(self._clock())
        with self._reading() as connection:
            # In one transaction: what is read of a person belongs together.
            connection.execute("BEGIN")
            try:
                user, expires = connection.execute(_ABOUT, (user_id, now)).fetchone() or (0, None)
                (event_count,) = connection.execute(_COUNT, (user,)).fetchone()
                rows = connection.execute(_KEPT, (user_id, now, max_event_count)).fetchall()
            finally:
                connection.execute("COMMIT")
        if not event_count:
            return None
        events = [
            KeptEvent(event_id or "", item_id, action, value, time_seconds, request_id or "")
            for event_id, item_id, action, value, time_seconds, request_id in rows
        ]
        return UserRecord(int(event_count), events, None if expires is None else float(expires))

    def forget(self, user_id: str) -> int | None:
        """Removes a person and everything they did; see :meth:`UserStore.forget`."""
        now = int(self._clock())
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT user_number, expires_seconds IS NULL OR expires_seconds > ? FROM users WHERE user_id = ?",
                (now, user_id),
            ).fetchone()
            if found is None:
                return None
            user, living = found
            count = connection.execute("DELETE FROM events WHERE user_number = ?", (user,)).rowcount
            connection.execute("DELETE FROM users WHERE user_number = ?", (user,))
            connection.execute(
                "INSERT OR IGNORE INTO forgotten VALUES (?)", (person_digest(self._digest_key, user_id),)
            )
        # What was written of them is in the log until it is emptied; where that must wait, it is tried again.
        if not self._wipe():
            self._sweeper.wipe_soon()
        return int(count) if living else None

    def close(self) -> None:
        """Closes every connection."""
        self._sweeper.stop()
        with self._writing:
            self._closed = True
            for connection in (self._writer, *self._readers):
                connection.close()
            self._readers.clear()

    def _wipe(self) -> bool:
        """Empties the log into the file; says whether nothing is left in it."""
        with self._writing:
            return not self._closed and wipe_log(self._writer)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._open_reader()
            yield connection
        except sqlite3.Error as error:
            self._drop_reader(connection)
            raise UserStoreUnavailable(f"{self.path}: cannot be read: {error}") from error

    def _open_reader(self) -> sqlite3.Connection:
        with self._writing:
            if self._closed:
                raise UserStoreUnavailable(f"{self.path}: the store is closed")
            connection = connect(self.path)
            self._readers.append(connection)
        connection.execute("PRAGMA query_only = ON")
        self._local.connection = connection
        return connection

    def _drop_reader(self, connection: sqlite3.Connection | None) -> None:
        self._local.connection = None
        with self._writing:
            if connection in self._readers:
                self._readers.remove(connection)
                connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The writing connection inside a transaction; committed at the end, undone by an exception."""
        with self._writing:
            try:
                # At once and not at the first write: a reader that becomes a writer may be told busy without waiting.
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                except BaseException:
                    self._writer.execute("ROLLBACK")
                    raise
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                # A commit that failed may leave the transaction open, and then no other could begin.
                with suppress(sqlite3.Error):
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                raise UserStoreUnavailable(f"{self.path}: cannot be written: {error}") from error


def _place(connection: sqlite3.Connection, user_id: str, now: int) -> int:
    """A person's number; they are made when they are new, and begin anew when they have expired."""
    found = connection.execute(
        "SELECT user_number, expires_seconds IS NOT NULL AND expires_seconds <= ? FROM users WHERE user_id = ?",
        (now, user_id),
    ).fetchone()
    if found is None:
        return int(
            connection.execute("INSERT INTO users (user_id) VALUES (?) RETURNING user_number", (user_id,)).fetchone()[0]
        )
    user, expired = found
    if expired:
        connection.execute("DELETE FROM events WHERE user_number = ?", (user,))
    return int(user)
