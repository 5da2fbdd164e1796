"""Imports the histories that training wrote into the user store, once, so that known people are known.

::

    python -m gateway.users.import_histories --users FILE.sqlite --histories DIR
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gateway.users.sqlite_schema import action_number, open_users_file
from gateway.users.store import UserStoreUnavailable
from twostage.bundle.checksums import sum_folder
from twostage.bundle.errors import BundleError
from twostage.bundle.histories import UserHistory, read_histories

# A transaction each: few enough that a gateway's own writes get in between, many enough that commits cost nothing.
_PEOPLE_PER_TRANSACTION = 1_000
_INSERT = "INSERT INTO events (user_number, sequence, item_id, action_number, value, time_seconds) VALUES (?,?,?,?,?,?)"


@dataclass(frozen=True)
class ImportResult:
    """What the store holds of an import.

    Args:
        people_count: People with histories.
        event_count: Their events.
        already_there: True when an earlier import had finished and nothing was done.
    """

    people_count: int
    event_count: int
    already_there: bool


def import_histories(
    users_path: Path, histories_path: Path, *, on_progress: Callable[[int], None] = lambda _: None
) -> ImportResult:
    """Imports a folder of histories unless it was imported before; an interrupted import is taken up again.

    People who are there already keep what they did since and get the imported events put before it; what an earlier
    import of another folder gave them is replaced.

    Args:
        users_path: The SQLite file of the user store, made when it does not exist.
        histories_path: What :func:`twostage.bundle.histories.write_histories` wrote.
        on_progress: Told now and then how many people are done.

    Raises:
        BundleError: The folder is absent or corrupt.
        UserStoreUnavailable: The file cannot be written, or another import of the same folder runs.
    """
    fingerprint = _fingerprint(histories_path)
    connection = open_users_file(users_path)
    try:
        done, event_count, finished = _state(connection, fingerprint)
        if finished:
            return ImportResult(done, event_count, already_there=True)
        people = islice(read_histories(histories_path), done, None)
        for chunk in _chunks(people):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                if _state(connection, fingerprint)[0] != done:
                    raise UserStoreUnavailable(f"{users_path}: another process imports the same histories")
                event_count += _import_chunk(connection, chunk)
                done += len(chunk)
                _mark(connection, fingerprint, done, event_count, finished=False)
            on_progress(done)
        with connection:
            _mark(connection, fingerprint, done, event_count, finished=True)
    except sqlite3.Error as error:
        raise UserStoreUnavailable(f"{users_path}: cannot be written: {error}") from error
    finally:
        connection.close()
    return ImportResult(done, event_count, already_there=False)


def _fingerprint(folder: Path) -> str:
    """A sum of the folder's contents."""
    digest = hashlib.sha256()
    for path, entry in sum_folder(folder).items():
        digest.update(f"{path} {entry.sha256}\n".encode())
    return digest.hexdigest()


def _state(connection: sqlite3.Connection, fingerprint: str) -> tuple[int, int, bool]:
    """People done, their events, and whether that was all."""
    query = "SELECT people_count, event_count, finished FROM imports WHERE fingerprint = ?"
    row = connection.execute(query, (fingerprint,)).fetchone()
    return (0, 0, False) if row is None else (int(row[0]), int(row[1]), bool(row[2]))


def _mark(
    connection: sqlite3.Connection, fingerprint: str, people_count: int, event_count: int, *, finished: bool
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO imports (fingerprint, people_count, event_count, finished) VALUES (?, ?, ?, ?)",
        (fingerprint, people_count, event_count, finished),
    )


def _chunks(people: Iterator[UserHistory]) -> Iterator[list[UserHistory]]:
    while chunk := list(islice(people, _PEOPLE_PER_TRANSACTION)):
        yield chunk


def _import_chunk(connection: sqlite3.Connection, chunk: list[UserHistory]) -> int:
    names = {name for person in chunk for name in set(person.actions)}
    actions = {name: action_number(connection, name) for name in names}
    rows: list[tuple[int, int, str, int, float, int]] = []
    for person in chunk:
        if not person.item_ids:
            continue
        user, first = _place(connection, person)
        rows.extend(
            # SQLite has no NaN: it stores one as NULL, which is what a missing value is.
            (user, first + position, item_id, actions[action], value, time_seconds)
            for position, (item_id, action, value, time_seconds) in enumerate(
                zip(person.item_ids, person.actions, person.values, person.times, strict=True)
            )
        )
    connection.executemany(_INSERT, rows)
    return len(rows)


def _place(connection: sqlite3.Connection, person: UserHistory) -> tuple[int, int]:
    """A person's number and the sequence of their first imported event."""
    added = connection.execute(
        "INSERT INTO users (user_id) VALUES (?) ON CONFLICT DO NOTHING RETURNING user_number", (person.user_id,)
    ).fetchone()
    if added is not None:
        return int(added[0]), 1
    (user,) = connection.execute("SELECT user_number FROM users WHERE user_id = ?", (person.user_id,)).fetchone()
    connection.execute("DELETE FROM events WHERE user_number = ? AND event_id IS NULL", (user,))
    (oldest,) = connection.execute("SELECT MIN(sequence) FROM events WHERE user_number = ?", (user,)).fetchone()
    return int(user), 1 if oldest is None else int(oldest) - len(person.item_ids)


def main(arguments: list[str] | None = None) -> int:
    """Runs the import as a program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.users.import_histories",
        description="Imports the histories that training wrote into the gateway's user store, once.",
    )
    parser.add_argument("--users", type=Path, required=True, help="SQLite file of the user store, made when absent")
    parser.add_argument("--histories", type=Path, required=True, help="folder of histories that training wrote")
    given = parser.parse_args(arguments)
    start = shown = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= 1.0:
            shown = now
            sys.stderr.write(f"import: {done:,} people so far\n")

    try:
        result = import_histories(given.users, given.histories, on_progress=show)
    except (BundleError, UserStoreUnavailable, OSError) as error:
        sys.stderr.write(f"import: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("import: interrupted; the next one goes on from here\n")
        return 130
    if result.already_there:
        sys.stdout.write(f"import: {result.people_count:,} people were already there\n")
    else:
        seconds = time.monotonic() - start
        sys.stdout.write(f"import: {result.people_count:,} people, {result.event_count:,} events in {seconds:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
