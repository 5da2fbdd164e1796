"""The threads that run requests, and how many of them have something to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

T = TypeVar("T")


class CountingPool(futures.ThreadPoolExecutor):
    """Threads that tell how much they have been given and not finished.

    Args:
        size: How many threads there are at most; each is started when it is needed.
        name: The threads' names begin with it.

    Attributes:
        size: How many threads there are at most.
        outstanding_count: What has been given to them and not finished.
    """

    def __init__(self, size: int, name: str) -> None:
        super().__init__(size, thread_name_prefix=name)
        self.size = size
        self.outstanding_count = 0
        self._count_lock = threading.Lock()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Gives work to a thread; see `concurrent.futures.Executor.submit`."""
        future = super().submit(fn, *args, **kwargs)
        with self._count_lock:
            self.outstanding_count += 1
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _future: futures.Future[Any]) -> None:
        with self._count_lock:
            self.outstanding_count -= 1


class SameThread(futures.ThreadPoolExecutor):
    """Runs what it is given at once, in the thread that gives it; grpcio takes only a ThreadPoolExecutor."""

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Runs it."""
        future: futures.Future[T] = futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the future
            future.set_exception(error)
        return future
