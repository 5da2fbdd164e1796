"""How many requests may be asked a second time: a share of all, with a small reserve."""

from __future__ import annotations

import threading


class ShareBudget:
    """A bucket of tokens that fills with requests, not with time: a share of a token with each.

    So second attempts are at most that share of all requests and the reserve, whatever happens: a stage that is slow
    for everybody is not asked twice by everybody. As gRPC's retry throttling and Finagle's retry budgets do.

    Args:
        share: Tokens that a request adds, 0..1; 0 allows no second attempt at all.
        reserve: The bucket's size; it is full in the beginning. 10 by default.
    """

    def __init__(self, share: float, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve if share > 0 else 0.0
        self._tokens = self._reserve
        self._lock = threading.Lock()

    def note_request(self) -> None:
        """Counts a request that is asked for the first time."""
        with self._lock:
            self._tokens = min(self._tokens + self._share, self._reserve)

    def take(self) -> bool:
        """Takes a token for a second attempt; False when there is none."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True
