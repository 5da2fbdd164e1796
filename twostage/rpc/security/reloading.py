"""What a few files say, read again when they change, without a restart and without a gap.

A file that cannot be used changes nothing: what was read before stays in force, the log says why, and a gauge stays at
1 until a good file is there. Kubernetes swaps the files of a Secret or a ConfigMap by moving one symbolic link; files
that are replaced one after another, a key after its certificate, are simply refused until the second one is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.settings import SettingsError

T = TypeVar("T")

_Marks = dict[Path, tuple[int, int, int, int] | None]
# Files that change whenever they are read are left for the next look.
_ATTEMPTS = 3


class OthersRefused(SettingsError):
    """Something is wrong, and the files now name others than before: those are looked at from now on.

    Args:
        message: What is wrong.
        paths: All files that count now.
    """

    def __init__(self, message: str, paths: Sequence[Path]) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class NotYetInForce(SettingsError):
    """The files are in order and hold from a later moment on: they are looked at again without a change."""


class Reloaded(Generic[T]):
    """What some files say, as of the last look at which they were in order.

    Args:
        what: Names them in log and metrics, e.g. ``tls_certificate``.
        paths: The files; those that `read` returns from then on.
        read: Reads them all and returns what they say and which files these were; raises SettingsError or OSError when
            something is wrong with them, which is never the content of a secret.
        metrics: Counted at every change.
        logger: Told of every change; structlog's default when unset.

    Attributes:
        current: What they say.
        version: Grows by 1 with every change that was accepted, from 0.

    Raises:
        SettingsError: Something is wrong with them now.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        read: Callable[[], tuple[T, Sequence[Path]]],
        metrics: SecurityMetrics,
        logger: FilteringBoundLogger | None = None,
    ) -> None:
        self.what = what
        self.version = 0
        self._read = read
        self._metrics = metrics
        self._logger = logger if logger is not None else structlog.get_logger()
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = _marks(self._paths)
        self._refused: _Marks = {}
        try:
            self.current, paths = read()
            if tuple(paths) != self._paths:
                # Read again: a change since then must not be taken for what was read.
                self._paths = tuple(paths)
                self._seen = _marks(self._paths)
                self.current, _ = read()
        except OSError as error:
            raise SettingsError(_unreadable(what, error)) from error
        metrics.start(what)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Registers what is called after a change was accepted, in the thread that found it."""
        self._listeners.append(listener)

    def look(self) -> bool:
        """Looks whether the files changed and reads them if so; costs some microseconds for each file when not.

        Returns:
            True when there is something new in `current`. It never raises.
        """
        if _marks(self._paths) == self._seen or not self._lock.acquire(blocking=False):
            return False
        try:
            changed = self._reread()
        finally:
            self._lock.release()
        if changed:
            for listener in self._listeners:
                listener()
        return changed

    def watch(self, seconds: float) -> None:
        """Looks again and again from now on, in a thread.

        Args:
            seconds: Between two looks; above 0.
        """
        self._thread = threading.Thread(target=self._keep_looking, args=(seconds,), name=f"watch {self.what}")
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Stops looking."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _keep_looking(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            try:
                self.look()
            except Exception:
                # A listener's defect must not end the watch over certificates.
                self._logger.exception("reloading failed", what=self.what)

    def _reread(self) -> bool:
        for _ in range(_ATTEMPTS):
            paths = self._paths
            before = _marks(paths)
            if before == self._seen:
                return False
            try:
                current, read_paths = self._read()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with new files, the old ones hold
                if isinstance(error, OthersRefused) and error.paths != paths:
                    self._paths = error.paths
                    continue
                if _marks(paths) != before:
                    continue
                if not isinstance(error, NotYetInForce):
                    self._seen = before
                if before != self._refused:
                    self._refused = before
                    self._refuse(error)
                return False
            self._paths = tuple(read_paths)
            if self._paths != paths or _marks(paths) != before:
                # They changed under our hands: parts of two states.
                continue
            self._seen = before
            self.current = current
            self.version += 1
            self._metrics.accepted(self.what)
            self._logger.info("reloaded", what=self.what, version=self.version)
            return True
        return False

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, OSError):
            reason = _unreadable(self.what, error)
        else:
            # What others than ours say may be what stands in the files.
            reason = str(error) if isinstance(error, SettingsError) else type(error).__name__
        self._metrics.refused(self.what)
        self._logger.warning("changed files are not used, what they said before stays", what=self.what, reason=reason)


def _marks(paths: Sequence[Path]) -> _Marks:
    return {path: _mark(path) for path in paths}


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    """What tells two states of a file apart, behind all symbolic links; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat costs twice as much, and this runs at every new connection
    except (OSError, ValueError):
        # The latter for a name that no file can have.
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _unreadable(what: str, error: OSError) -> str:
    return f"{what}: expected a readable file, received {error.filename or 'none'}: {error.strerror or error}"
