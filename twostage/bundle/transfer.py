"""Work on many files at once: a bound on how many, one meter, and one error that stops all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

Watch = Callable[[int, int], None]
"""Told of progress as (bytes done, bytes in all); called by any thread, by one at a time."""

PARALLEL_COUNT = 4
"""How many files are downloaded, uploaded or summed at once."""

Part = TypeVar("Part")


class Stopped(Exception):
    """Work was given up because other work failed."""


class Meter:
    """Counts bytes done and tells a watcher.

    Args:
        total: Bytes in all.
        watch: Told of every change, from the start; None tells nobody.
    """

    def __init__(self, total: int, watch: Watch | None) -> None:
        self._total = total
        self._done = 0
        self._watch = watch
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.add(0)

    def add(self, byte_count: int) -> None:
        """Counts bytes as done; a negative count takes some back.

        Raises:
            Stopped: Other work failed, or the person wants no more of it.
        """
        if self._stopped.is_set():
            raise Stopped
        with self._lock:
            self._done += byte_count
            if self._watch is not None:
                self._watch(self._done, self._total)

    def stop(self) -> None:
        """Lets all work stop at its next count."""
        self._stopped.set()


def for_each(parts: Iterable[Part], work: Callable[[Part], None], meter: Meter, parallel_count: int) -> None:
    """Does the work on every part, some at once; the first failure stops the others and is raised.

    Args:
        parts: Of what.
        work: What to do; it counts with the meter, which is where it stops.
        meter: Whom the work counts with.
        parallel_count: How many at once.
    """
    with ThreadPoolExecutor(max_workers=parallel_count, thread_name_prefix="twostage-transfer") as pool:
        tasks = [pool.submit(work, part) for part in parts]
        try:
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:
            # Ctrl-C comes here too. What runs stops at its next count, what waits is never begun.
            unfinished = [task for task in tasks if not task.done()]
            if unfinished:
                meter.stop()
                pool.shutdown(cancel_futures=True)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error
