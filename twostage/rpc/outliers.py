"""Which replica is left alone for a while, because it fails or hangs where the others do not.

A replica is *put aside* after several failures in a row, after too many failures among its latest answers, or when its
answers take several times as long as the others'. It stays aside for a time that doubles each time it happens again.
Then, or as soon as it answers questions about its status again that it had left unanswered, one request is given to it
on trial: an answer takes it back, a failure puts it aside once more. At most half of the replicas are put aside:
where all fail it is not one of them that is to blame, and the last ones would have to do everybody's work.

After Envoy's outlier detection (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier) and
the half-open state of circuit breakers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How a call ended, as far as it tells anything about the replica."""

    ANSWERED = "answered"
    """It answered; also when it refused the request as such."""
    FAILED = "failed"
    """It could not be reached, or broke."""
    SILENT = "silent"
    """It did not answer in the time in which others do."""


@dataclass(frozen=True, slots=True)
class OutlierPolicy:
    """When a replica is put aside, and for how long.

    Args:
        failures_in_a_row: After so many; 5 by default.
        silent_seconds: Where it was silent it must have answered nothing for so long, too: calls that wait together
            for one short pause are one event and not several. 0.1 by default.
        stuck_seconds: Where it has had work for so long without ending any, while another one answered, it is silent at
            once; 0.5 by default, and never less than ``slow_times`` the others' time.
        failed_share: When more than this part of its latest calls failed; 0.5 by default.
        failed_of: How many its latest calls are; 32 by default.
        slow_times: When it takes so many times as long as the others; 5 by default.
        slow_least_seconds: Less than this is never slow; 0.02 by default.
        first_seconds: How long it is put aside the first time; 1 by default.
        longest_seconds: It is never put aside for longer; 30 by default.
        trial_seconds: How long a trial may take before another one is made; 2 by default.
    """

    failures_in_a_row: int = 5
    silent_seconds: float = 0.1
    stuck_seconds: float = 0.5
    failed_share: float = 0.5
    failed_of: int = 32
    slow_times: float = 5.0
    slow_least_seconds: float = 0.020
    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    trial_seconds: float = 2.0


# The weight of the newest latency in a replica's mean.
_NEWEST_WEIGHT = 0.1


class Conduct:
    """How one connection to a replica has behaved of late.

    Attributes:
        aside: True while it is left alone.
        mean_seconds: Of its answers, the newest weighing most; 0 while there are none.
        answer_count: Answers since it was last put aside.
    """

    __slots__ = (
        "answer_count",
        "answered_at",
        "aside",
        "failures_in_a_row",
        "latest",
        "mean_seconds",
        "put_aside_at",
        "readmitted_at",
        "silent",
        "times_aside",
        "trial_from",
        "trial_until",
    )

    def __init__(self, policy: OutlierPolicy, now: float) -> None:
        self.aside = False
        self.mean_seconds = 0.0
        self.answer_count = 0
        self.answered_at = now
        self.failures_in_a_row = 0
        self.latest: deque[bool] = deque(maxlen=policy.failed_of)
        self.times_aside = 0
        self.readmitted_at = now
        self.silent = False
        self.put_aside_at = now
        self.trial_from = 0.0
        self.trial_until = 0.0


class Outliers:
    """Judges the connections of one service.

    Args:
        policy: When one is put aside; None puts nobody aside.
        on_aside: Called with (address, why, seconds) when one is put aside.
        on_back: Called with (address, seconds since it was put aside last) when one is taken back.
        on_left: Called with (address) when one that is put aside is closed.
        clock: Seconds that only grow; for tests.

    Attributes:
        aside_count: How many are put aside.
    """

    def __init__(
        self,
        policy: OutlierPolicy | None,
        *,
        on_aside: Callable[[str, str, float], None] = lambda *_: None,
        on_back: Callable[[str, float], None] = lambda *_: None,
        on_left: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy if policy is not None else OutlierPolicy()
        self._active = policy is not None
        self._on_aside = on_aside
        self._on_back = on_back
        self._on_left = on_left
        self._clock = clock
        self._lock = threading.Lock()
        self._members: dict[Conduct, str] = {}
        self.aside_count = 0

    def join(self, address: str) -> Conduct:
        """Takes a connection in.

        Args:
            address: The replica's.
        """
        conduct = Conduct(self._policy, self._clock())
        with self._lock:
            self._members[conduct] = address
        return conduct

    def leave(self, conduct: Conduct) -> None:
        """Lets go of a connection that is closed."""
        with self._lock:
            address = self._members.pop(conduct, None)
            if address is None or not conduct.aside:
                return
            self.aside_count -= 1
        self._on_left(address)

    def note(self, conduct: Conduct, outcome: Outcome, seconds: float = 0.0) -> None:
        """Takes note of how a call ended.

        Args:
            conduct: Of the connection.
            outcome: How.
            seconds: How long it took.
        """
        answered = outcome is Outcome.ANSWERED
        if answered and not conduct.aside and not conduct.failures_in_a_row:
            # As nearly always. Calls that end at the same moment may miss each other's means, which is no harm.
            self._note_seconds(conduct, seconds)
            if not self._is_slow(conduct):
                return
        with self._lock:
            told = self._judge(conduct, outcome, seconds)
        # Outside the lock: whoever is told may ask.
        if told is not None:
            told()

    def note_status(self, conduct: Conduct, *, answered: bool) -> None:
        """Takes note of whether a connection answers when it is asked for its status, or whether it stands at all.

        One that was put aside, did not and does again gets its trial at once. One that always did fails in its work,
        and its status says nothing of that.
        """
        if not answered:
            conduct.silent = True
        elif conduct.silent:
            conduct.silent = False
            conduct.trial_from = 0.0

    def note_waiting(self, conduct: Conduct, since: float) -> None:
        """Takes note of one that has work and has ended none of it since a moment, by ``time.monotonic``.

        Timeouts alone would tell of a replica that hangs only when whoever asked it has given up.
        """
        now = self._clock()
        if conduct.aside or now - since < self._policy.stuck_seconds:
            return
        others = [other for other in tuple(self._members) if other is not conduct and other.answered_at > since]
        if not others or now - since < self._policy.slow_times * max(other.mean_seconds for other in others):
            return
        with self._lock:
            told = None if conduct.aside else self._put_aside(conduct, Outcome.SILENT.value, now)
        if told is not None:
            told()

    def take_trial(self, conduct: Conduct) -> bool:
        """Says whether one that was put aside may be given a request on trial now, and if so takes it as given."""
        if not conduct.aside:
            return False
        now = self._clock()
        with self._lock:
            if not conduct.aside or now < max(conduct.trial_from, conduct.trial_until):
                return False
            conduct.trial_until = now + self._policy.trial_seconds
            return True

    def _judge(self, conduct: Conduct, outcome: Outcome, seconds: float) -> Callable[[], None] | None:
        now = self._clock()
        if outcome is Outcome.ANSWERED:
            conduct.answered_at = now
            if conduct.aside:
                conduct.failures_in_a_row = 0
                return self._take_back(conduct, now) if conduct.trial_until else None
            if conduct.failures_in_a_row:
                # An answer after a failure is an answer among the latest calls, too.
                conduct.failures_in_a_row = 0
                self._note_seconds(conduct, seconds)
            return self._put_aside(conduct, "slow", now) if self._is_slow(conduct) else None
        conduct.failures_in_a_row += 1
        conduct.latest.append(False)
        if conduct.aside:
            # A call that was under way before says nothing new; one on trial does.
            return self._put_aside(conduct, outcome.value, now) if conduct.trial_until > now else None
        policy = self._policy
        in_a_row = conduct.failures_in_a_row >= policy.failures_in_a_row and (
            outcome is Outcome.FAILED or now - conduct.answered_at >= policy.silent_seconds
        )
        failed_count = conduct.latest.count(False)
        if in_a_row or failed_count > policy.failed_share * policy.failed_of:
            return self._put_aside(conduct, outcome.value, now)
        return None

    def _note_seconds(self, conduct: Conduct, seconds: float) -> None:
        weight = _NEWEST_WEIGHT if conduct.answer_count else 1.0
        conduct.mean_seconds += weight * (seconds - conduct.mean_seconds)
        conduct.answer_count += 1
        conduct.answered_at = self._clock()
        conduct.latest.append(True)

    def _is_slow(self, conduct: Conduct) -> bool:
        policy = self._policy
        if conduct.mean_seconds < policy.slow_least_seconds or conduct.answer_count < policy.failed_of:
            return False
        others = sorted(
            other.mean_seconds
            for other in tuple(self._members)
            if other is not conduct and not other.aside and other.answer_count >= policy.failed_of
        )
        return bool(others) and conduct.mean_seconds > policy.slow_times * others[len(others) // 2]

    def _put_aside(self, conduct: Conduct, why: str, now: float) -> Callable[[], None] | None:
        address = self._members.get(conduct)
        if address is None or not self._active:
            return None
        policy = self._policy
        if not conduct.aside:
            # Several connections to one address are one replica, as long as all fail; each is judged by itself.
            if len(set(self._members.values())) < 2 or self.aside_count >= len(self._members) // 2:
                return None
            self.aside_count += 1
            conduct.aside = True
            if now - conduct.readmitted_at > policy.longest_seconds:
                conduct.times_aside = 0
        seconds = min(policy.first_seconds * 2.0**conduct.times_aside, policy.longest_seconds)
        conduct.times_aside = min(conduct.times_aside + 1, 16)
        conduct.put_aside_at = now
        conduct.trial_from = now + seconds
        conduct.trial_until = 0.0
        conduct.failures_in_a_row = 0
        conduct.latest.clear()
        conduct.mean_seconds, conduct.answer_count = 0.0, 0
        return lambda: self._on_aside(address, why, seconds)

    def _take_back(self, conduct: Conduct, now: float) -> Callable[[], None] | None:
        address = self._members.get(conduct)
        if address is None:
            return None
        self.aside_count -= 1
        conduct.aside = False
        conduct.readmitted_at = now
        seconds = now - conduct.put_aside_at
        return lambda: self._on_back(address, seconds)
