"""When a stage that fails is no longer asked, and when it is asked again.

::

    CLOSED ──▶ run of failures, or half of the last calls failed, or silence ──▶ OPEN ──▶ rest ──▶ trial ──┐
      ▲                                                                           ▲                        │
      └──────────────── as many trials in a row as are wanted answered ◀──────────┼────────────────────────┤
                                                                                  └── one failed ◀─────────┘

While it is closed every request asks the stage. While it is open none does, so none spends its deadline there: trials,
one at a time, are made beside the requests (`gateway.circuits`), and no caller waits for one.

It does not flap. A *marginal* stage, one that fails at least half of what it is asked, opens the breaker within the
window, and to close it again it has to answer several trials in a row. One that opened it again soon after closing it
has *relapsed*: it rests twice as long and has to prove itself twice as often, and so on up to a bound. So a stage that
fails every second call is out nearly all the time, and one that is whole is back within the longest rest and the
longest proof: 0.5 s and twelve answers. A stage that fails less than half of its calls stays in: three requests of four
answered in full are worth more than none.

Only what speaks about the stage as a whole counts. A call that had less than three times what answers usually take
failed for want of time, as long as others are answered. Outcomes of calls from before the breaker opened say nothing
after it has closed. A stage that was taken for silent and is only slow answers its trials, and they teach how slow: it
is waited for from then on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

# Of the newest answer in the running mean of how long answers take.
_NEWEST_SHARE = 0.1
# Likewise of a trial that took longer than that mean: there are few of them, and calls go by what they teach.
_TRIAL_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and closes.

    Args:
        run_count: So many failures in a row open it.
        window_count: How many of the newest outcomes are looked at.
        window_failure_count: So many failures among those open it.
        silent_count: With so many calls waiting the stage may be called silent.
        silent_seconds: It is when nothing was heard of any of them for so long, or for ten times as long as answers
            usually take if that is more.
        patient_count: So many calls may wait for as long as their requests let them.
        patience_seconds: Those beyond them wait for so long at most, or ten times as long as answers usually take if
            that is more, so that a hanging stage does not hold all threads of the gateway.
        rest_seconds: From opening to the first trial, and from a failed trial to the next, the latter doubling.
        longest_rest_seconds: Where it ends to double.
        proof_count: So many trials in a row must be answered for it to close.
        most_proof_count: The same for a stage that relapsed again and again.
        relapse_seconds: Opening within so long after closing is a relapse.
        memory_seconds: After so long without outcomes the earlier ones count no more.
    """

    run_count: int = 5
    window_count: int = 20
    window_failure_count: int = 10
    silent_count: int = 4
    silent_seconds: float = 0.25
    patient_count: int = 3
    patience_seconds: float = 0.5
    rest_seconds: float = 0.1
    longest_rest_seconds: float = 0.5
    proof_count: int = 3
    most_proof_count: int = 12
    relapse_seconds: float = 10.0
    memory_seconds: float = 10.0


class Ticket(NamedTuple):
    """A call that the breaker let through.

    Args:
        period: Which of the times between two openings it belongs to.
        started: When.
        patience_seconds: How long it may take at most.
    """

    period: int
    started: float
    patience_seconds: float


class Breaker:
    """The state of one stage's circuit; safe to use from many threads, calls nobody.

    Args:
        policy: When it opens and closes.
        clock: Seconds that only grow; for tests.
    """

    def __init__(self, policy: BreakerPolicy | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy if policy is not None else BreakerPolicy()
        self._clock = clock
        self._lock = threading.Lock()
        self._open = False
        self._why = ""
        # The newest outcomes as bits, the last one lowest; 1 is a failure.
        self._outcomes = 0
        self._outcome_at = clock()
        self._period = 0
        self._waiting = 0
        self._heard_at = 0.0
        # Of the first call since the last answer; None while there is none.
        self._unanswered_since: float | None = None
        self._usual_seconds = 0.0
        self._closed_at = float("-inf")
        self._relapses = 0
        self._rest_seconds = 0.0
        self._trial_at = 0.0
        self._proofs = 0

    @property
    def is_open(self) -> bool:
        """True while the stage is not to be asked."""
        return self._open

    @property
    def why(self) -> str:
        """What opened it last, in words for a caller; empty before it first did."""
        return self._why

    @property
    def least_trial_seconds(self) -> float:
        """How long a trial should be given at least, whatever the request that it repeats had left."""
        return max(self._policy.patience_seconds, 10 * self._usual_seconds)

    def admit(self) -> Ticket | None:
        """Asks whether the stage may be asked now; every ticket goes back by one of the three methods below."""
        now = self._clock()
        with self._lock:
            if self._open:
                return None
            policy = self._policy
            patience = float("inf")
            if self._waiting == 0:
                self._heard_at = now
            elif self._waiting >= policy.silent_count:
                silent_seconds = now - self._heard_at
                if silent_seconds > self._most_silent_seconds():
                    self._open_up(now, f"silent for {silent_seconds * 1000:.0f} ms")
                    return None
            if self._waiting >= policy.patient_count:
                patience = self.least_trial_seconds
            if self._unanswered_since is None:
                self._unanswered_since = now
            self._waiting += 1
            return Ticket(self._period, now, patience)

    def answered(self, ticket: Ticket) -> None:
        """The stage answered, whatever it said."""
        now = self._clock()
        with self._lock:
            if self._give_back(ticket):
                self._heard_at, self._unanswered_since = now, None
                took = now - ticket.started
                self._usual_seconds += (took - self._usual_seconds) * _NEWEST_SHARE if self._usual_seconds else took
                self._note(now, failed=False, why="")

    def failed(self, ticket: Ticket, why: str, *, late_after_seconds: float | None = None) -> bool:
        """The stage failed.

        Args:
            ticket: The call.
            why: How, in words for a caller.
            late_after_seconds: How long it was waited for, where that is what failed.

        Returns:
            True when this opened the breaker.
        """
        now = self._clock()
        with self._lock:
            if not self._give_back(ticket):
                return False
            if late_after_seconds is None:
                self._heard_at = now
            elif late_after_seconds < 3 * self._usual_seconds and not self._is_unanswered_for_long(now):
                return False
            self._note(now, failed=True, why=why)
            return self._open

    def left(self, ticket: Ticket) -> None:
        """The call ended in a way that says nothing about the stage."""
        with self._lock:
            if self._give_back(ticket):
                self._heard_at = self._clock()

    def seconds_to_trial(self) -> float:
        """How long until a trial may be made, 0 for now; while it is closed there is nothing to try."""
        return max(self._trial_at - self._clock(), 0.0)

    def trial_answered(self, seconds: float = 0.0) -> bool:
        """A trial was answered.

        Args:
            seconds: How long that took; 0 by default, which teaches nothing.

        Returns:
            True when that closed the breaker; else the next trial may follow at once.
        """
        with self._lock:
            # That it is faster than it was the calls will tell.
            self._usual_seconds += max(seconds - self._usual_seconds, 0.0) * _TRIAL_SHARE
            if not self._open:
                return True
            self._proofs += 1
            if self._proofs < self._wanted_proofs():
                return False
            self._open = False
            self._closed_at = self._outcome_at = self._clock()
            self._unanswered_since = None
            self._outcomes = 0
            self._waiting = 0
            self._period += 1
            return True

    def trial_failed(self, why: str) -> None:
        """A trial failed; the stage rests for longer."""
        with self._lock:
            self._proofs = 0
            self._why = why
            self._rest_seconds = min(2 * self._rest_seconds, self._policy.longest_rest_seconds)
            self._trial_at = self._clock() + self._rest_seconds

    def _give_back(self, ticket: Ticket) -> bool:
        """Says whether the outcome of a call counts."""
        if ticket.period != self._period or self._open:
            return False
        self._waiting -= 1
        return True

    def _is_unanswered_for_long(self, now: float) -> bool:
        since = self._unanswered_since
        return since is not None and now - since > self._most_silent_seconds()

    def _most_silent_seconds(self) -> float:
        return max(self._policy.silent_seconds, 10 * self._usual_seconds)

    def _note(self, now: float, *, failed: bool, why: str) -> None:
        policy = self._policy
        if now - self._outcome_at > policy.memory_seconds:
            self._outcomes = 0
        self._outcome_at = now
        self._outcomes = (self._outcomes << 1 | failed) & (1 << policy.window_count) - 1
        if not failed:
            return
        run = (1 << policy.run_count) - 1
        if self._outcomes & run == run or self._outcomes.bit_count() >= policy.window_failure_count:
            self._open_up(now, why)

    def _open_up(self, now: float, why: str) -> None:
        policy = self._policy
        self._open, self._why, self._proofs = True, why, 0
        self._relapses = self._relapses + 1 if now - self._closed_at < policy.relapse_seconds else 0
        # No more doublings than bring the proof to its bound: a power of a thousand relapses is a long number.
        self._relapses = min(self._relapses, 10)
        self._rest_seconds = min(policy.rest_seconds * (1 << self._relapses), policy.longest_rest_seconds)
        self._trial_at = now + self._rest_seconds

    def _wanted_proofs(self) -> int:
        return min(self._policy.proof_count << self._relapses, self._policy.most_proof_count)
