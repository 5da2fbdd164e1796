"""A bound on what strangers can have the HTTP library log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_PER_SECOND = 10


class LogBound(logging.Filter):
    """Lets at most so many warnings pass in a second; errors always.

    uvicorn warns of each request that is no HTTP and of each connection too many, which costs whoever sends them less
    than the lines cost us.

    Args:
        per_second: How many; 10 by default, as of refused gRPC calls.
        clock: Seconds that never go back; the system's by default.
    """

    def __init__(self, per_second: int = _PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= self._per_second or record.levelno >= logging.ERROR
