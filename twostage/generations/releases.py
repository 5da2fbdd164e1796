"""Lets go of what an engine holds once nobody uses the engine any more."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

Close = Callable[[], None]


class Releases:
    """Closes what engines hold beside mapped files, e.g. connections, after the last reference to each has gone.

    Requests need no lock and no count: the engine that one works with lives as long as it works.

    Args:
        logger: Is told of a close that failed.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._finalizers: list[weakref.finalize[[Close], object]] = []
        self._released: deque[Close] = deque()

    def watch_over(self, engine: object, close: Close) -> None:
        """Has ``close``, which must not refer to the engine, called by :meth:`close_released` once nothing does."""
        # Only noted here: the last reference may go in a request's thread, which should not wait for a close.
        finalizer = weakref.finalize(engine, self._released.append, close)
        finalizer.atexit = False
        self._finalizers = [*(one for one in self._finalizers if one.alive), finalizer]

    def close_released(self) -> None:
        """Closes what belongs to engines that are gone."""
        while self._released:
            close = self._released.popleft()
            try:
                close()
            except Exception:
                self._logger.exception("closing a generation failed")

    def close_all(self) -> None:
        """Closes everything, in use or not."""
        for finalizer in self._finalizers:
            finalizer()
        self.close_released()
