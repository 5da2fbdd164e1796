"""Child processes that say when they serve."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

STOP_GRACE_SECONDS = 15.0
"""How long a child may take to stop after SIGTERM before it is killed."""


_PR_SET_PDEATHSIG = 1
# Loaded before any fork: what runs between fork and exec should do as little as it can.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildFailedError(Exception):
    """A child ended, or did not serve in time; the message says which and shows its last words."""


class ServiceProcess:
    """One server as a child process, started again after it died if asked to.

    A child announces itself by one line of JSON on its standard output: ``{"event": "serving", "address": …}``. All
    its other lines are passed on, each behind the child's name.

    Args:
        name: How people know it, e.g. ``retrieval``.
        command: The argument list.
        on_line: Called with (name, line) for every line that is passed on.
        environment: Added to this process's environment.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        on_line: Callable[[str, str], None],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.announcement: dict[str, Any] = {}
        self._environment = {**os.environ, **(environment or {})}
        self._on_line = on_line
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._serving = threading.Event()
        self._last_lines: list[str] = []
        self.started_at = 0.0

    @classmethod
    def python(cls, module: str, *arguments: str, name: str, on_line: Callable[[str, str], None]) -> ServiceProcess:
        """A child that runs one of our modules with this interpreter."""
        return cls(name, [sys.executable, "-m", module, *arguments], on_line=on_line)

    @property
    def pid(self) -> int:
        """The child's process id, 0 before it was started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Starts the child in a session of its own, so that Ctrl-C reaches it through us, in order."""
        self._serving.clear()
        self._last_lines.clear()
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            self.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            # Children must not outlive a parent that was killed and could not stop them. The function calls one thing.
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name=f"{self.name}-output")
        self._reader.daemon = True
        self._reader.start()

    def exit_code(self) -> int | None:
        """The child's exit code, None while it runs."""
        return self._process.poll() if self._process else None

    def is_serving(self) -> bool:
        """True once the child has announced itself."""
        return self._serving.is_set()

    def wait_serving(self, seconds: float = 60.0) -> None:
        """Waits until the child has announced itself.

        Args:
            seconds: How long it may take from now.

        Raises:
            ChildFailedError: It ended, or the time ran out.
        """
        deadline = time.monotonic() + seconds
        while not self._serving.wait(0.01):
            self.check_running(deadline)

    def check_running(self, deadline: float) -> None:
        """Checks that a child that does not serve yet may still come to it.

        Args:
            deadline: By ``time.monotonic()``, when it should serve at the latest.

        Raises:
            ChildFailedError: It ended, or the time ran out.
        """
        code = self.exit_code()
        if code is not None:
            self._join_reader()
            raise ChildFailedError(f"{self.name} ended with {describe_exit(code)}{self._last_words()}")
        if time.monotonic() > deadline:
            seconds = time.monotonic() - self.started_at
            raise ChildFailedError(f"{self.name} was not serving after {seconds:.0f} seconds{self._last_words()}")

    def terminate(self) -> None:
        """Asks the child to stop."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_stopped(self, timeout_seconds: float = STOP_GRACE_SECONDS) -> int:
        """Waits for the child's end, kills it when it takes too long, and returns its exit code."""
        if not self._process:
            return 0
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._join_reader()
        return self._process.returncode

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                text = line.rstrip("\n")
                announcement = _announcement(text)
                if announcement is not None:
                    self.announcement = announcement
                    self._serving.set()
                    continue
                self._last_lines = [*self._last_lines[-4:], text]
                try:
                    self._on_line(self.name, text)
                except Exception as error:  # noqa: BLE001 - a child whose output nobody reads stops when the pipe is full
                    sys.stderr.write(f"{self.name}: a line could not be shown: {error}\n")

    def _join_reader(self) -> None:
        if self._reader:
            self._reader.join(timeout=1.0)

    def _last_words(self) -> str:
        words = [line.strip() for line in self._last_lines if line.strip()]
        return f": {' / '.join(words[-2:])}" if words else ""


def _end_with_parent() -> None:
    """Asks the kernel to send this process SIGTERM when its parent is gone; see prctl(2), PR_SET_PDEATHSIG."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def describe_exit(code: int) -> str:
    """An exit code in words, e.g. ``signal SIGKILL`` for -9."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _announcement(line: str) -> dict[str, Any] | None:
    if not line.startswith("{") or '"serving"' not in line:
        return None
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("event") == "serving" else None
