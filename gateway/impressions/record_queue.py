"""Records on their way to the thread that writes them."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Dropped(Enum):
    """Why a record is not in the log; the values are those of the metric's label."""

    QUEUE_FULL = "queue_full"
    """They came faster than they could be written."""
    TOO_LARGE = "too_large"
    """It alone is larger than the queue may be."""
    IO_ERROR = "io_error"
    """The folder could not be written, e.g. because the disk is full."""
    INVALID = "invalid"
    """It does not fit the log's columns: a defect."""
    CLOSED = "closed"
    """It came after the log was closed, or the log had no time to write it before."""


class RecordQueue(Generic[T]):
    """A queue with two bounds that refuses instead of waiting; safe to use from many threads.

    Args:
        max_count: The most records.
        max_bytes: The most memory that they take, as those who offer them reckon it.

    Attributes:
        wake: Set when somebody should look at the queue before their time: it is half full, or closed.
    """

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._records: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._lock = threading.Lock()
        self.wake = threading.Event()

    def __len__(self) -> int:
        """The number of records."""
        return len(self._records)

    def offer(self, record: T, byte_count: int) -> Dropped | None:
        """Takes a record unless a bound forbids it.

        Args:
            record: The record.
            byte_count: The memory it keeps occupied, reckoned rather too high.

        Returns:
            None when it was taken, else why not.
        """
        if byte_count > self._max_bytes:
            return Dropped.TOO_LARGE
        with self._lock:
            if self._closed:
                return Dropped.CLOSED
            if len(self._records) >= self._max_count or self._bytes + byte_count > self._max_bytes:
                return Dropped.QUEUE_FULL
            self._records.append((record, byte_count))
            self._bytes += byte_count
            hurry = 2 * len(self._records) >= self._max_count or 2 * self._bytes >= self._max_bytes
        # Waking for every record would have the two threads take turns with the interpreter's lock.
        if hurry and not self.wake.is_set():
            self.wake.set()
        return None

    def take(self, max_count: int) -> list[T]:
        """Removes the oldest records, at most so many."""
        with self._lock:
            taken = [self._records.popleft() for _ in range(min(max_count, len(self._records)))]
            self._bytes -= sum(byte_count for _, byte_count in taken)
        return [record for record, _ in taken]

    def close(self) -> None:
        """Refuses what comes from now on; what is there can still be taken."""
        with self._lock:
            self._closed = True
        self.wake.set()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed
