"""How often each client may ask: a token bucket for each.

A bucket holds at most ``burst`` tokens, fills at ``requests_per_second``, and every request takes one
(https://en.wikipedia.org/wiki/Token_bucket). It is filled when it is looked at, so that idle clients cost nothing.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from twostage.rpc.caller import Caller

MAX_CLIENT_COUNT = 10_000
"""So many clients' buckets are kept; beyond, the one that asked longest ago is forgotten and starts with a full one."""


class _Bucket:
    __slots__ = ("filled_at", "tokens")

    def __init__(self, tokens: float, filled_at: float) -> None:
        self.tokens = tokens
        self.filled_at = filled_at


class TokenBuckets:
    """The clients' buckets; safe for threads.

    Clients are told apart by name; all that have none share one bucket. A client whose rate or burst changes keeps the
    tokens that it has, as far as the new burst allows.

    Args:
        clock: Seconds that only grow.
        max_client_count: How many are kept.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, max_client_count: int = MAX_CLIENT_COUNT
    ) -> None:
        self._clock = clock
        self._max_client_count = max_client_count
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: Caller) -> float:
        """Takes a token.

        Args:
            caller: Who asks; one without a rate may ask as often as it likes, and no bucket is kept for it.

        Returns:
            0 when there was one, else the seconds until there will be one.
        """
        rate = caller.requests_per_second
        if rate is None:
            return 0.0
        burst = float(max(caller.burst, 1))
        with self._lock:
            now = self._clock()
            bucket = self._buckets.get(caller.name)
            if bucket is None:
                bucket = self._buckets[caller.name] = _Bucket(burst, now)
                if len(self._buckets) > self._max_client_count:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(caller.name)
                bucket.tokens = min(burst, bucket.tokens + max(0.0, now - bucket.filled_at) * rate)
                bucket.filled_at = now
            if bucket.tokens >= 1.0:
                bucket.tokens -= 1.0
                return 0.0
            return (1.0 - bucket.tokens) / rate if rate > 0 else float("inf")
