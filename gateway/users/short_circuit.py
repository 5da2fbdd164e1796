"""Not asking, for a moment, somebody who just did not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

REST_SECONDS = 0.5
"""How long nobody asks after a failure; then one asks, and the others wait for how that ends."""


class ShortCircuit:
    """Decides whether to ask a server that may not answer; safe to use from several threads.

    After a failure nobody asks for a rest. Then one caller tries, and only when that succeeds the others ask again: a
    server that hangs costs one caller a timeout for each rest, and not every caller.

    Args:
        rest_seconds: How long nobody asks.
        clock: Monotonic seconds.
    """

    def __init__(self, rest_seconds: float = REST_SECONDS, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # When somebody may ask again, by the clock; None while all is well.
        self._closed_until: float | None = None

    def may_ask(self) -> bool:
        """Says whether this caller may ask now; one who may must call :meth:`succeeded` or :meth:`failed`."""
        if self._closed_until is None:
            return True
        now = self._clock()
        with self._lock:
            closed_until = self._closed_until
            if closed_until is not None and now < closed_until:
                return False
            if closed_until is not None:
                # This caller tries. Should it never say how that ended, another one tries after the next rest.
                self._closed_until = now + self._rest_seconds
            return True

    def succeeded(self) -> None:
        """The server answered."""
        if self._closed_until is not None:
            with self._lock:
                self._closed_until = None

    def failed(self) -> None:
        """The server did not answer."""
        with self._lock:
            self._closed_until = self._clock() + self._rest_seconds
