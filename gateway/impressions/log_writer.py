"""Turns records into files, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import structlog

from gateway.impressions.log_folder import LogFolder
from gateway.impressions.log_metrics import LogMetrics
from gateway.impressions.parquet_content import ParquetContent
from gateway.impressions.record_queue import Dropped, RecordQueue

T = TypeVar("T")

# Columns of many records cost less a record; of too many, requests would wait for the interpreter's lock.
_CHUNK = 64
# Seldom: few records at a time cost nearly as much as many.
_LOOK_SECONDS = 1.0
_RETIRE_SECONDS = 60.0
# A disk that is full fails every file; once in so many seconds is enough to read about it.
_COMPLAINT_SECONDS = 10.0


@dataclass(frozen=True)
class Rolling:
    """When a file is complete, and how much may wait.

    Args:
        seconds: A file is completed so long after its first record: what a crash loses at most.
        file_bytes: And when it has this size.
        file_rows: And when it has this many records.
        queue_count: The most records that wait to be turned into columns.
        queue_bytes: The most memory that they take.
        unwritten_bytes: The most that complete files which could not be written take, until they can be.
        retry_seconds: Between two attempts to write such files.
    """

    seconds: float = 60.0
    file_bytes: int = 16 * 2**20
    file_rows: int = 200_000
    queue_count: int = 8_192
    queue_bytes: int = 64 * 2**20
    unwritten_bytes: int = 32 * 2**20
    retry_seconds: float = 1.0


@dataclass
class _Unwritten:
    content: pa.Buffer
    row_count: int
    unix_seconds: float


class LogWriter(Generic[T]):
    """Writes one kind of log.

    Args:
        kind: Which.
        to_batch: Turns records into columns; must not change them.
        folder: Where files appear.
        rolling: When files are complete, and how much may wait.
        metrics: Counts.
        secret_fingerprint: Written into every file.
    """

    def __init__(
        self,
        kind: str,
        to_batch: Callable[[Sequence[T]], pa.RecordBatch],
        folder: LogFolder,
        *,
        rolling: Rolling,
        metrics: LogMetrics,
        secret_fingerprint: str = "",
    ) -> None:
        self._kind = kind
        self._to_batch = to_batch
        self._folder = folder
        self._rolling = rolling
        self._metrics = metrics
        self._fingerprint = secret_fingerprint
        self._queue: RecordQueue[T] = RecordQueue(max_count=rolling.queue_count, max_bytes=rolling.queue_bytes)
        self._content: ParquetContent | None = None
        self._begun_at = 0.0
        self._begun_unix = 0.0
        self._unwritten: deque[_Unwritten] = deque()
        self._retry_at = 0.0
        self._retire_at = 0.0
        self._complained_at = float("-inf")
        self._logger = structlog.get_logger(service="gateway")
        self._thread = threading.Thread(target=self._run, name=f"log {kind}", daemon=True)
        self._thread.start()

    def offer(self, record: T, byte_count: int) -> None:
        """Takes a record, or counts it as dropped; never waits.

        Args:
            record: The record.
            byte_count: The memory that it keeps occupied, reckoned rather too high.
        """
        reason = self._queue.offer(record, byte_count)
        if reason is not None:
            self.drop(reason)

    def drop(self, reason: Dropped, count: int = 1) -> None:
        """Counts records that are not logged."""
        self._metrics.dropped[self._kind, reason].inc(count)

    def stop_taking(self) -> None:
        """Refuses what comes from now on; what waits is written."""
        self._queue.close()

    def close(self, timeout_seconds: float) -> None:
        """Writes what waits, and refuses what comes from now on.

        Args:
            timeout_seconds: How long that may take; what is not written by then is counted as dropped.
        """
        self._queue.close()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            content = self._content
            waiting_count = len(self._queue) + (0 if content is None else content.row_count)
            waiting_count += sum(file.row_count for file in tuple(self._unwritten))
            self.drop(Dropped.CLOSED, waiting_count)
            self._complain("the log was not written in time before the end", waiting_count=waiting_count)

    def _run(self) -> None:
        while not self._queue.closed:
            self._queue.wake.wait(min(_LOOK_SECONDS, self._rolling.seconds, self._rolling.retry_seconds))
            self._queue.wake.clear()
            self._guarded(self._work)
        self._guarded(self._work)
        self._guarded(self._finish)
        self._guarded(lambda: self._write_all(last=True))

    def _guarded(self, step: Callable[[], None]) -> None:
        """Nothing ends this thread but the end of the log."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a log that stops silently is worse
            self._complain("the log failed", error=type(error).__name__, exc_info=True)

    def _work(self) -> None:
        while chunk := self._queue.take(_CHUNK):
            self._add(chunk)
            content = self._content
            if content is not None and (
                content.byte_count >= self._rolling.file_bytes or content.row_count >= self._rolling.file_rows
            ):
                self._finish()
                self._write_all()
            # Lets requests run.
            time.sleep(0)
        now = time.monotonic()
        self._metrics.queue[self._kind].set(len(self._queue))
        if self._content is not None and now - self._begun_at >= self._rolling.seconds:
            self._finish()
            self._write_all()
        elif self._unwritten and now >= self._retry_at:
            self._write_all()
        if now >= self._retire_at:
            self._retire_at = now + _RETIRE_SECONDS
            self._retire()

    def _add(self, chunk: Sequence[T]) -> None:
        try:
            batch = self._to_batch(chunk)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one record, the others are logged
            if len(chunk) > 1:
                for record in chunk:
                    self._add([record])
                return
            self.drop(Dropped.INVALID)
            self._complain("a record does not fit the log", error=type(error).__name__)
            return
        if self._content is None:
            self._content = ParquetContent(self._kind, self._fingerprint)
            self._begun_at, self._begun_unix = time.monotonic(), time.time()
        self._content.add(batch)

    def _finish(self) -> None:
        """Completes the file that is being made, if there is one."""
        content, self._content = self._content, None
        if content is not None:
            try:
                self._unwritten.append(_Unwritten(content.finish(), content.row_count, self._begun_unix))
            except Exception:
                self.drop(Dropped.INVALID, content.row_count)
                raise

    def _write_all(self, *, last: bool = False) -> None:
        """Writes the complete files, the oldest first; those that cannot be written wait within their bound."""
        while self._unwritten:
            file = self._unwritten[0]
            try:
                self._folder.publish(self._kind, memoryview(file.content), file.unix_seconds)
            except OSError as error:
                self._complain("the log cannot be written", error=error.strerror or type(error).__name__)
                self._retry_at = time.monotonic() + self._rolling.retry_seconds
                self._forget_unwritten(0 if last else self._rolling.unwritten_bytes)
                return
            self._unwritten.popleft()
            self._metrics.written[self._kind].inc(file.row_count)
            self._metrics.files[self._kind].inc()

    def _forget_unwritten(self, max_bytes: int) -> None:
        """Drops the oldest files until the others fit."""
        size = sum(int(file.content.size) for file in self._unwritten)
        while self._unwritten and size > max_bytes:
            file = self._unwritten.popleft()
            size -= int(file.content.size)
            self.drop(Dropped.IO_ERROR, file.row_count)

    def _retire(self) -> None:
        try:
            deleted, _ = self._folder.retire(time.time())
        except OSError as error:
            self._complain("the log's old files cannot be looked after", error=error.strerror or type(error).__name__)
            return
        self._metrics.deleted.inc(deleted)

    def _complain(self, what: str, **facts: Any) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            self._logger.warning(what, log=self._kind, **facts)
