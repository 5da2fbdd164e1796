"""The user stores that the contract holds for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import UserStore

STORES: dict[str, Callable[[Path], UserStore]] = {"sqlite": lambda folder: SqliteUserStore(folder / "users.sqlite")}
"""Name to a function that opens a store in an empty folder; a second call in the same folder opens the same store."""
