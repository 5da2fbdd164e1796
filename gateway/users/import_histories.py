"""Imports the histories that training wrote into the user store, once, so that known people are known.

::

    python -m gateway.users.import_histories --users FILE.sqlite|URL --histories DIR

Redis's password, its certificates and how long people are kept come from the environment, as for the gateway.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gateway.users.opening import UsersAccess, access_from_environment, open_import_target
from gateway.users.store import UserStoreUnavailable
from twostage.bundle.checksums import sum_folder
from twostage.bundle.errors import BundleError
from twostage.bundle.histories import UserHistory, read_histories


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
    users: UsersAccess | Path | str, histories_path: Path, *, on_progress: Callable[[int], None] = lambda _: None
) -> ImportResult:
    """Imports a folder of histories unless it was imported before; an interrupted import is taken up again.

    People who are there already keep what they did since and get the imported events put before it; what an earlier
    import of another folder gave them is replaced. Those who were forgotten stay so.

    Args:
        users: The user store, or where it is; a SQLite file is made when it does not exist.
        histories_path: What :func:`twostage.bundle.histories.write_histories` wrote.
        on_progress: Told now and then how many people are done.

    Raises:
        BundleError: The folder is absent or corrupt.
        UserStoreUnavailable: The store cannot be written, or another import of the same folder runs.
        ValueError: There can be no user store.
    """
    fingerprint = _fingerprint(histories_path)
    target = open_import_target(users if isinstance(users, UsersAccess) else UsersAccess(users))
    try:
        done = target.progress(fingerprint)
        if done.finished:
            return ImportResult(done.people_count, done.event_count, already_there=True)
        people = islice(read_histories(histories_path), done.people_count, None)
        for chunk in _chunks(people, target.people_per_write):
            done = target.write(fingerprint, done, chunk)
            on_progress(done.people_count)
        target.finish(fingerprint, done)
    finally:
        target.close()
    return ImportResult(done.people_count, done.event_count, already_there=False)


def _fingerprint(folder: Path) -> str:
    """A sum of the folder's contents."""
    digest = hashlib.sha256()
    for path, entry in sum_folder(folder).items():
        digest.update(f"{path} {entry.sha256}\n".encode())
    return digest.hexdigest()


def _chunks(people: Iterator[UserHistory], size: int) -> Iterator[list[UserHistory]]:
    while chunk := list(islice(people, size)):
        yield chunk


def main(arguments: list[str] | None = None) -> int:
    """Runs the import as a program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.users.import_histories",
        description="Imports the histories that training wrote into the gateway's user store, once.",
    )
    parser.add_argument(
        "--users", required=True, help="SQLite file of the user store, made when absent; or the URL of a Redis server"
    )
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
        result = import_histories(access_from_environment(given.users), given.histories, on_progress=show)
    except (BundleError, UserStoreUnavailable, OSError, ValueError) as error:
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
