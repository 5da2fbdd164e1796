"""Waiting for the signal to stop, without locks in signal handlers."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


class Interrupted(BaseException):
    """A signal to stop came while the server was still loading; not an Exception, so that no handler swallows it."""


class StopSignals:
    """Turns SIGTERM and SIGINT into something to wait for; use it as a context manager in the main thread.

    The handler only writes a byte into a pipe. `threading.Event.set` in a handler can deadlock with a wait that it
    interrupts.

    Attributes:
        received: Names of the signals that came, in order.
    """

    def __init__(self) -> None:
        self.received: list[str] = []
        self._raise_at_once = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._reader)
        os.close(self._writer)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(number).name)
        os.write(self._writer, b"!")
        if self._raise_at_once:
            self._raise_at_once = False
            raise Interrupted

    def fileno(self) -> int:
        """A file descriptor that becomes readable when a signal comes, for those who wait for other things too."""
        return self._reader

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Lets the next signal raise `Interrupted` inside the block instead of waiting for `wait`.

        Raises:
            Interrupted: A signal came, or had come before the block.
        """
        if self.received:
            raise Interrupted
        self._raise_at_once = True
        try:
            yield
        finally:
            self._raise_at_once = False

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Waits for the next signal.

        Args:
            timeout_seconds: How long to wait at most; for ever when unset.

        Returns:
            True when a signal came, False when the time is over.
        """
        ready, _, _ = select.select([self._reader], [], [], timeout_seconds)
        if not ready:
            return False
        os.read(self._reader, 1)
        return True
