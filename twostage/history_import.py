"""Known people's histories, imported into the user store beside the servers of a stack."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from twostage.bundle.errors import BundleError
from twostage.bundle.histories import histories_folder
from twostage.bundle.store import Store
from twostage.processes import ChildFailedError, ServiceProcess, describe_exit

_LOOK_SECONDS = 1.0


class HistoryImport:
    """Imports the histories that training wrote beside a generation, of every generation that becomes current.

    Args:
        store: The store.
        users: The user store's SQLite file, or the URL of a Redis server.
        on_line: Called with (name, line) for what an import prints.
        say: Called with a line for a person when an import in the background failed, or must wait for the store.
    """

    def __init__(
        self, store: Store, users: Path | str, *, on_line: Callable[[str, str], None], say: Callable[[str], None]
    ) -> None:
        self._store = store
        self._users = users
        self._on_line = on_line
        self._say = say
        self._tried: set[int] = set()
        self._child: ServiceProcess | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, generation: int) -> None:
        """Imports the histories of a generation; those imported before are left alone.

        Raises:
            ChildFailedError: The import failed.
            BundleError: The histories of a remote store cannot be fetched.
        """
        self._store.fetch_histories(generation)
        # From here on a failure is told, and another try would fail alike.
        self._tried.add(generation)
        folder = histories_folder(self._store, generation)
        if not folder.is_dir() or self._stopping.is_set():
            return
        command = [sys.executable, "-m", "gateway.users.import_histories"]
        child = ServiceProcess(
            "users", [*command, "--users", str(self._users), "--histories", str(folder)], on_line=self._on_line
        )
        child.start()
        self._child = child
        if self._stopping.is_set():
            child.terminate()
        while child.exit_code() is None:
            time.sleep(0.02)
        code = child.wait_stopped()
        self._child = None
        if code and not self._stopping.is_set():
            raise ChildFailedError(f"the import of known people's histories failed with {describe_exit(code)}")

    def follow(self) -> None:
        """Looks at CURRENT again and again, in a thread, and imports what comes with a generation not tried before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="histories", daemon=True)
            self._thread.start()

    def abandon(self) -> None:
        """Ends an import under way, and following; safe in a signal handler."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.terminate()

    def close(self) -> None:
        """Ends everything and waits for it."""
        self.abandon()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        told = ""
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                current = self._store.current()
            except (BundleError, OSError):
                continue  # the servers tell what is wrong with the store
            if current in self._tried:
                continue
            try:
                self.run(current)
            except ChildFailedError as error:
                self._say(str(error))
            except (BundleError, OSError) as error:
                # Servers read no histories, so nobody else tells. The store may answer at the next look.
                if told != (told := f"the histories of generation {current} cannot be fetched: {error}"):
                    self._say(told)
