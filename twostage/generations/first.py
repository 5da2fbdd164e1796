"""Finding the generation that a process serves first, and waiting for one where there is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from structlog.typing import FilteringBoundLogger

from twostage.bundle.errors import BundleCorrupt, GenerationMissing
from twostage.bundle.store import Store
from twostage.generations.pointer import named_by
from twostage.generations.reason import reason_of

E = TypeVar("E")
Attempt = Callable[[int], tuple[E, None] | tuple[None, Exception]]


class Abandoned(Exception):
    """Preparing was given up because nobody wants the generation any more."""


class Wait(NamedTuple):
    """How a first generation is waited for.

    Args:
        seconds: How long; 0 looks once, infinity never gives up.
        poll_seconds: Between two looks.
        stopping: Set when the process stops.
        tell: Told what is waited for, whenever that changes.
        clock: Tells the time in seconds.
    """

    seconds: float
    poll_seconds: float
    stopping: threading.Event
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic


class FirstGeneration(Generic[E]):
    """Finds what is served first: what CURRENT names, or the newest earlier one that can be served.

    Args:
        store: Where generations are.
        attempt: Prepares one; gives what answers for it, or why it cannot be served.
        may_try: Says whether one that could not be served may be tried again now.
        refuse_missing: Told of a generation that CURRENT names and that is not there, with what says so.
        logger: Is told what is waited for.

    Attributes:
        named: The generation that CURRENT named, None before it was read.
    """

    def __init__(
        self,
        store: Store,
        attempt: Attempt[E],
        *,
        may_try: Callable[[int], bool],
        refuse_missing: Callable[[int, Exception], None],
        logger: FilteringBoundLogger,
    ) -> None:
        self.named: int | None = None
        self._store = store
        self._attempt = attempt
        self._may_try = may_try
        self._refuse_missing = refuse_missing
        self._logger = logger
        self._failures: dict[int, Exception] = {}

    def find(self, pinned: int | None, wait: Wait) -> E:
        """Looks until there is one, or the wait is over.

        Args:
            pinned: The only generation that will do; None where CURRENT says.
            wait: How long.

        Raises:
            Abandoned: The process stops.
            Exception: What kept the generation that is pinned or that CURRENT names from being served, when none of
                the earlier ones could be either.
        """
        deadline = wait.clock() + wait.seconds
        told = ""
        while True:
            try:
                return self._by_current() if pinned is None else self._by_number(pinned)
            except Abandoned:
                raise
            except Exception as error:
                if wait.clock() >= deadline:
                    raise
                reason = reason_of(error)
            if reason != told:
                wait.tell(f"waiting for a generation: {reason}")
                self._logger.warning("waiting for a generation", reason=reason)
                told = reason
            if wait.stopping.wait(wait.poll_seconds):
                raise Abandoned("the service stops")

    def _by_number(self, number: int) -> E:
        engine, failure = self._try(number)
        if failure is not None:
            raise failure
        assert engine is not None
        return engine

    def _by_current(self) -> E:
        try:
            named = self._store.current()
        except (GenerationMissing, BundleCorrupt) as error:
            number = named_by(error)
            if number is None:
                raise
            self._refuse_missing(number, error)
            named = number
            failure: Exception = error
        else:
            self.named = named
            engine, failed = self._try(named)
            if failed is None:
                assert engine is not None
                return engine
            failure = failed
        self.named = named
        for number in reversed([number for number in self._store.generations() if number < named]):
            engine, failed = self._try(number)
            if failed is None:
                assert engine is not None
                self._logger.error("an earlier generation is served", generation=number, current=named)
                return engine
        raise failure

    def _try(self, number: int) -> tuple[E, None] | tuple[None, Exception]:
        failure = self._failures.get(number)
        if failure is not None and not self._may_try(number):
            return None, failure
        engine, failed = self._attempt(number)
        if failed is None:
            assert engine is not None
            return engine, None
        # Its frames hold what was opened of the generation.
        self._failures[number] = failed.with_traceback(None)
        return None, failed
