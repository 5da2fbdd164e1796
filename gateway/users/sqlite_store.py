"""A user store in one SQLite file, for one machine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from gateway.users.sqlite_schema import action_number, connect, open_users_file
from gateway.users.store import MAX_SEEN_COUNT, NewEvent, UserStoreUnavailable
from twostage.features.history import HISTORY_LENGTH

# Most people's whole history; one query then answers both what they like and what they have seen.
_PAGE = 256

_USER = "SELECT user_number FROM users WHERE user_id = ?"
# CROSS JOIN tells SQLite the order: a person's events first, then the name of each one's action.
_EVENTS = (
    "SELECT item_id, name, value, time_seconds FROM events CROSS JOIN actions USING (action_number) "
    "WHERE user_number = (SELECT user_number FROM users WHERE user_id = ?) ORDER BY sequence DESC LIMIT ?"
)
_SEEN = (
    "SELECT item_id FROM events WHERE user_number = (SELECT user_number FROM users WHERE user_id = ?) "
    "ORDER BY sequence DESC LIMIT ?"
)
_RECORD = (
    "INSERT INTO events (user_number, sequence, item_id, action_number, value, time_seconds, event_id, request_id) "
    "VALUES (:user, COALESCE((SELECT MAX(sequence) FROM events WHERE user_number = :user), 0) + 1, "
    ":item, :action, :value, :time, :event, :request) ON CONFLICT DO NOTHING"
)


class SqliteUserStore:
    """People and what they did in one file; implements :class:`gateway.users.store.UserStore`.

    Writes go through one connection behind a lock, reads through one connection a thread; in WAL mode neither waits
    for the other. A committed event is visible to whoever reads next, in this process or another.

    Args:
        path: The file; it and its folder are made when they do not exist.

    Raises:
        UserStoreUnavailable: It cannot be opened, is no user store, or has another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = open_users_file(path)
        self._writing = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    def read(
        self,
        user_id: str,
        rule: TasteRule,
        *,
        taste_count: int = HISTORY_LENGTH,
        seen_count: int = MAX_SEEN_COUNT,
    ) -> StoredUser | None:
        """Reads what is known of a person; see :meth:`UserStore.read`."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._open_reader()
            # One statement for nearly everybody: each takes and gives back the locks of the file.
            events = connection.execute(_EVENTS, (user_id, min(_PAGE, seen_count))).fetchall()
            taste = rule.newest(events, taste_count)
            if len(events) < _PAGE or len(events) == seen_count:
                seen = [event[0] for event in events]
            elif len(taste) < taste_count:
                events = connection.execute(_EVENTS, (user_id, seen_count)).fetchall()
                taste = rule.newest(events, taste_count)
                seen = [event[0] for event in events]
            else:
                seen = [event[0] for event in connection.execute(_SEEN, (user_id, seen_count))]
        except sqlite3.Error as error:
            self._drop_reader(connection)
            raise UserStoreUnavailable(f"{self.path}: cannot be read: {error}") from error
        return StoredUser(taste=taste, seen_item_ids=list(dict.fromkeys(seen))) if seen else None

    def record(self, events: Sequence[NewEvent]) -> int:
        """Stores events, all or none; see :meth:`UserStore.record`."""
        with self._transaction() as connection:
            before = connection.total_changes
            users: dict[str, int] = {}
            actions = {name: action_number(connection, name) for name in {event.action for event in events}}
            added = connection.total_changes - before
            for event in events:
                user = users.get(event.user_id)
                if user is None:
                    before_user = connection.total_changes
                    connection.execute(
                        "INSERT INTO users (user_id) VALUES (?) ON CONFLICT DO NOTHING", (event.user_id,)
                    )
                    added += connection.total_changes - before_user
                    user = users[event.user_id] = int(connection.execute(_USER, (event.user_id,)).fetchone()[0])
                connection.execute(
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
                )
            return connection.total_changes - before - added

    def forget(self, user_id: str) -> bool:
        """Removes a person and everything they did; see :meth:`UserStore.forget`."""
        with self._transaction() as connection:
            found = connection.execute(_USER, (user_id,)).fetchone()
            if found is None:
                return False
            connection.execute("DELETE FROM events WHERE user_number = ?", found)
            connection.execute("DELETE FROM users WHERE user_number = ?", found)
        return True

    def close(self) -> None:
        """Closes every connection."""
        with self._writing:
            self._closed = True
            for connection in (self._writer, *self._readers):
                connection.close()
            self._readers.clear()

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
                raise UserStoreUnavailable(f"{self.path}: cannot be written: {error}") from error
