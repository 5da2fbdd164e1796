"""Removes from a SQLite user store the people whose time is over; Redis does so by itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from gateway.users.store import UserStoreUnavailable

SWEEP_SECONDS = 60.0
"""Between two looks for people whose time is over; they are unknown at once, only their rows stay so long."""

# Few enough that a gateway's own writes get in between.
_PEOPLE_PER_SWEEP = 100
_WIPE_SECONDS = 1.0


class ExpirySweeper:
    """A thread that removes expired people, and what the log still holds of those who were removed.

    Args:
        transaction: Opens a write transaction.
        wipe: Empties the log; returns whether it could.
        clock: Unix seconds.
        sweep_seconds: Between two looks.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        wipe: Callable[[], bool],
        clock: Callable[[], float],
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._transaction = transaction
        self._wipe = wipe
        self._clock = clock
        self._sweep_seconds = sweep_seconds
        self._wipe_due = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="users-expiry", daemon=True)

    def start(self) -> None:
        """Starts looking; the first look is after the first wait."""
        self._thread.start()

    def wipe_soon(self) -> None:
        """Has the log emptied as soon as that can be done."""
        self._wipe_due = True
        self._wake.set()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self) -> int:
        """Removes some of the people whose time is over; returns how many.

        Raises:
            UserStoreUnavailable: The store cannot be written.
        """
        with self._transaction() as connection:
            expired = connection.execute(
                "SELECT user_number FROM users WHERE expires_seconds <= ? LIMIT ?",
                (int(self._clock()), _PEOPLE_PER_SWEEP),
            ).fetchall()
            connection.executemany("DELETE FROM events WHERE user_number = ?", expired)
            connection.executemany("DELETE FROM users WHERE user_number = ?", expired)
        return len(expired)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_WIPE_SECONDS if self._wipe_due else self._sweep_seconds)
            self._wake.clear()
            try:
                while not self._stopping and self.sweep():
                    self._wipe_due = True
            except UserStoreUnavailable:
                continue  # told by those whose requests fail
            if self._wipe_due and not self._stopping:
                self._wipe_due = not self._wipe()
