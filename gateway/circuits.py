"""The stages' circuits: whoever is out is not asked by requests, but by trials that no caller waits for.

A trial repeats what the newest request wanted to ask. It is made by a thread that lives while the circuit is open, one
at a time, so that a stage that comes back is found out however few requests there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from gateway.engine.breaker import Breaker
from gateway.engine.ladder import (
    NoCommonGeneration,
    StageFailure,
    StageLate,
    StageOverloaded,
    StageResting,
    StageWithoutGeneration,
)
from twostage.errors import InvalidField

A = TypeVar("A")

QUESTION_SECONDS = 10.0
"""A question older than this is not repeated: what it asks for, e.g. its generation, may be gone."""

# Between two trials that are answered: a proof is meant to take a moment, not an instant.
_BETWEEN_PROOFS_SECONDS = 0.02


class CircuitWatcher(Protocol):
    """Is told when a circuit changes."""

    def circuit_changed(self, stage: str, *, is_open: bool, why: str) -> None:
        """A stage is asked no more, because of ``why``, or again."""


class _Question(NamedTuple):
    ask: Callable[[float], object]
    timeout_seconds: float
    asked_at: float


class Circuit:
    """Asks one stage, unless it is out.

    Args:
        stage: ``retrieval`` or ``ranking``.
        watcher: Told when it changes; nobody by default.
        breaker: Decides; one with the default policy when unset.
    """

    def __init__(self, stage: str, watcher: CircuitWatcher | None = None, breaker: Breaker | None = None) -> None:
        self._stage = stage
        self._watcher = watcher
        self._breaker = breaker if breaker is not None else Breaker()
        self._lock = threading.Lock()
        self._question: _Question | None = None
        self._trials: threading.Thread | None = None
        self._told_open = False
        self._closed = threading.Event()

    @property
    def is_open(self) -> bool:
        """True while the stage is not asked."""
        return self._breaker.is_open

    def call(self, ask: Callable[[float], A], timeout_seconds: float) -> A:
        """Asks the stage.

        Args:
            ask: Does so, within the seconds that it is given. May be called again, by another thread.
            timeout_seconds: How long it may take.

        Returns:
            What ``ask`` returns.

        Raises:
            StageResting: The stage is not asked for now.
            StageFailure: As ``ask`` raises it.
            InvalidField: Likewise.
        """
        breaker = self._breaker
        ticket = breaker.admit()
        if ticket is None:
            self._try_instead(_Question(ask, timeout_seconds, time.monotonic()))
            raise StageResting(self._stage, f"not asked after failures, the last one: {breaker.why}")
        granted = min(timeout_seconds, ticket.patience_seconds)
        try:
            answer = ask(granted)
        except (StageWithoutGeneration, InvalidField):
            breaker.answered(ticket)
            raise
        except (NoCommonGeneration, StageOverloaded):
            breaker.left(ticket)
            raise
        except StageFailure as failure:
            late = granted if isinstance(failure, StageLate) else None
            if breaker.failed(ticket, f"{failure.kind}, {failure.why}", late_after_seconds=late):
                self._try_instead(_Question(ask, timeout_seconds, time.monotonic()))
            raise
        except BaseException:
            breaker.left(ticket)
            raise
        breaker.answered(ticket)
        return answer

    def close(self) -> None:
        """Ends the trials; one that is under way ends by itself."""
        self._closed.set()

    def _try_instead(self, question: _Question) -> None:
        """Has trials made with this question, if they are not being made already."""
        self._question = question
        if self._trials is not None or self._closed.is_set():
            return
        with self._lock:
            if self._trials is None:
                self._trials = threading.Thread(target=self._run_trials, name=f"{self._stage} trials", daemon=True)
                self._tell(is_open=True)
                self._trials.start()

    def _run_trials(self) -> None:
        try:
            while self._breaker.is_open and not self._closed.wait(self._breaker.seconds_to_trial()):
                question = self._question
                if question is None or time.monotonic() - question.asked_at > QUESTION_SECONDS:
                    # The next request asks for trials anew.
                    return
                began = time.monotonic()
                answered = self._is_answered(question)
                if answered and not self._breaker.trial_answered(time.monotonic() - began):
                    self._closed.wait(_BETWEEN_PROOFS_SECONDS)
        finally:
            with self._lock:
                self._question = self._trials = None
                if not self._breaker.is_open:
                    self._tell(is_open=False)

    def _is_answered(self, question: _Question) -> bool:
        try:
            question.ask(max(question.timeout_seconds, self._breaker.least_trial_seconds))
        except (StageWithoutGeneration, NoCommonGeneration, StageOverloaded, InvalidField):
            # Not the answer that was hoped for, but one of a stage that is there, or a case for the requests.
            return True
        except StageFailure as failure:
            self._breaker.trial_failed(f"{failure.kind}, {failure.why}")
            return False
        except Exception as error:  # noqa: BLE001 - trials must go on, and the requests will meet it too
            self._breaker.trial_failed(f"broken, {type(error).__name__}")
            return False
        return True

    def _tell(self, *, is_open: bool) -> None:
        changed, self._told_open = is_open != self._told_open, is_open
        if changed and self._watcher is not None:
            self._watcher.circuit_changed(self._stage, is_open=is_open, why=self._breaker.why)


class Circuits:
    """The circuits of both stages.

    Args:
        watcher: Told when one changes; nobody by default.
    """

    def __init__(self, watcher: CircuitWatcher | None = None) -> None:
        self.retrieval = Circuit("retrieval", watcher)
        self.ranking = Circuit("ranking", watcher)

    def close(self) -> None:
        """Ends all trials."""
        self.retrieval.close()
        self.ranking.close()
