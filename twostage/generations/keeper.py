"""Holds the generations that a process serves: the one that the store's CURRENT names, and the one before.

::

    CURRENT moves ▸ prepare, away from serving threads ▸ swap ▸ let go of the oldest when its last request is over
                            └ failed: refused with the reason; what is held serves on
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from twostage.bundle.errors import BundleError, StoreUnreachable, StoreUnwritable
from twostage.bundle.store import Store
from twostage.errors import DeadlineSpent, GenerationNotLoaded, InvalidField, NotReady, Overloaded
from twostage.generations.first import Abandoned, FirstGeneration, Wait
from twostage.generations.metrics import GenerationMetrics
from twostage.generations.pointer import Pointer, manifest_stamp
from twostage.generations.reason import DEFECTS, reason_of
from twostage.generations.refusals import RETRY_SECONDS, Refusal, Refusals
from twostage.generations.releases import Close, Releases

MAY_PASS: tuple[type[Exception], ...] = (
    *(NotReady, Overloaded, DeadlineSpent),
    *(StoreUnreachable, StoreUnwritable, OSError, MemoryError),
)
"""Failures of preparing after which the same generation may well be served later."""

_JOIN_SECONDS = 5.0
_WAITING_POLL_SECONDS = 1.0
# While another generation was asked for so long and the active one was not, the others cannot answer from the active
# one: they lag, or have refused it.
_UNASKED_SECONDS = 3.0

# Python lets a busy thread go on for 5 ms before another may run, each time that one wants to. While a generation is
# prepared that made the slowest tenth of searches take 5.7 ms instead of 1.1; this made it 3.2.
_SWITCH_SECONDS = 0.0005
_USUAL_SWITCH_SECONDS = sys.getswitchinterval()


class Engine(Protocol):
    """What a service makes of a generation to answer from."""

    @property
    def number(self) -> int:
        """The generation's number."""

    @property
    def item_count(self) -> int:
        """How many items it has."""


E = TypeVar("E", bound=Engine)


class Keeper(Generic[E]):
    """Holds a process's generations; asked by any thread, changed by one of its own.

    Args:
        store: Whose CURRENT is followed.
        prepare: Makes what answers for a generation: fetch, compare sums, open, warm up, check golden answers. Runs in
            the thread that calls :meth:`start` and then in the keeper's own. What it raises is why a generation is
            refused; after an exception of ``may_pass`` it is tried again by itself, 5 to 60 seconds later.
        poll_seconds: Between two looks at CURRENT; 0 never looks again.
        logger: Where swaps and refusals are told.
        metrics: Where they are counted; nowhere when None.
        closer_of: What lets go of what an engine holds beside mapped files, e.g. connections. It is called in the
            keeper's thread when the engine is no longer held and nobody has a reference to it, so it must not refer to
            the engine itself. Nothing to close when None.
        may_pass: Failures after which the same generation may be served later.
        tend: Called after each look, with the numbers of the generations that are held or waited for.
        retry_seconds: The first and the longest wait after a failure that may pass.
        wait_seconds: How long :meth:`start` waits for a generation that can be served.
        on_wait: Told what is waited for, in the thread that calls :meth:`start`.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        store: Store,
        prepare: Callable[[int], E],
        *,
        logger: FilteringBoundLogger,
        poll_seconds: float = 1.0,
        metrics: GenerationMetrics | None = None,
        closer_of: Callable[[E], Close] | None = None,
        may_pass: tuple[type[Exception], ...] = MAY_PASS,
        tend: Callable[[frozenset[int]], None] | None = None,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
        wait_seconds: float = 0.0,
        on_wait: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._prepare = prepare
        self._logger = logger
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._closer_of = closer_of
        self._may_pass = may_pass
        self._tend = tend
        self._wait_seconds = wait_seconds
        self._on_wait = on_wait
        self._waiting_for = "loading"
        self._clock = clock
        self._refusals = Refusals(clock, retry_seconds)
        self._pointer = Pointer(store, logger)
        self._releases = Releases(logger)
        # The active one first. Replaced, never changed, so that requests read it without a lock.
        self._held: tuple[E, ...] = ()
        # When each was asked for, since the active one is active.
        self._last_asked: dict[int, float] = {}
        self._preparing = 0
        # What CURRENT named when it was last read, and what should be held beside the active one where that is alone.
        self._seen: int | None = None
        self._before: int | None = None
        self._before_of: int | None = None
        self._asked_at = float("-inf")
        self._pinned = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def held(self, number: int = 0) -> E:
        """What answers for a generation; keep it as long as the request runs, and no longer.

        Args:
            number: The generation; 0 for the active one.

        Raises:
            NotReady: Nothing is held yet.
            InvalidField: The number is below 0.
            GenerationNotLoaded: Others are held.
        """
        held = self._held
        if number < 0:
            raise InvalidField("generation", "0 for the active one, or a generation's number", number)
        if not held:
            raise NotReady("no generation is loaded")
        for engine in held:
            if number in (0, engine.number):
                self.note_asked(engine.number)
                return engine
        raise GenerationNotLoaded(number, [engine.number for engine in held])

    def note_asked(self, number: int) -> None:
        """Notes that a generation is answered from, where that is chosen among :attr:`all`; :meth:`held` does itself.

        A swap lets go of what nobody asks for: where another service refused the active generation, people are still
        answered from the one before, and the next swap must not take that one away.
        """
        self._last_asked[number] = self._clock()

    @property
    def all(self) -> tuple[E, ...]:
        """All that is held, the active one first; the same tuple until that changes."""
        return self._held

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What was to be held and is not, the highest number first."""
        return self._refusals.newest_first

    @property
    def waiting_for(self) -> str:
        """Why nothing is held yet, in one line."""
        return self._waiting_for

    def tell_waiting(self, reason: str) -> None:
        """Says why nothing is held yet."""
        self._waiting_for = reason
        self._on_wait(reason)

    @property
    def preparing(self) -> int:
        """The generation that is being prepared, 0 when none is."""
        return self._preparing

    @property
    def wanted(self) -> frozenset[int]:
        """The generations that are held, and those that are tried again by themselves."""
        held = {engine.number for engine in self._held}
        refused = (self._refusals.get(number) for number in (self._seen, self._before) if number is not None)
        return frozenset(held | {one.number for one in refused if one is not None and one.retry_at is not None})

    def start(self, pinned: int | None = None) -> E:
        """Prepares the generation that CURRENT names, or the newest earlier one that can be served, and holds it.

        While there is none it is looked for again, for ``wait_seconds``.

        Args:
            pinned: Serve this generation instead, and no other, whatever CURRENT does.

        Returns:
            What is active.

        Raises:
            Exception: What kept the generation that is pinned or that CURRENT names from being served, when none of
                the earlier ones can be either and the wait is over.
        """
        self._pinned = pinned is not None
        first = FirstGeneration(
            self._store,
            self._try,
            may_try=lambda number: self._refusals.may_try(number, self._stamp(number)),
            refuse_missing=self._refuse_missing,
            logger=self._logger,
        )
        poll_seconds = self._poll_seconds or _WAITING_POLL_SECONDS
        wait = Wait(self._wait_seconds, poll_seconds, self._stopping, self.tell_waiting, self._clock)
        engine = first.find(pinned, wait)
        self._seen = first.named
        self._hold((engine,))
        return engine

    def watch(self) -> None:
        """Follows CURRENT from now on, in a thread of its own, and loads the generation before the active one."""
        if self._pinned or self._poll_seconds <= 0 or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._follow, name="generations", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Looks once at CURRENT and does what it asks for; what :meth:`watch` does again and again."""
        self._releases.close_released()
        current = self._pointer.read(self._refuse_missing)
        if current is not None:
            if current != self._seen:
                self._seen = current
                self._refusals.forgive(current)
            self._reach(current)
        self._complete()
        if self._tend is not None:
            self._tend(self.wanted)
        self._releases.close_released()

    def require_wanted(self, number: int) -> None:
        """Says during a long preparation whether it is still worth it; cheap enough to be asked often.

        Raises:
            Abandoned: The process stops, or CURRENT names another generation that has to be prepared.
        """
        if self._stopping.is_set():
            raise Abandoned("the service stops")
        now = time.monotonic()
        if not self._held or now < self._asked_at + self._poll_seconds:
            return
        self._asked_at = now
        try:
            current = self._store.current()
        except (BundleError, OSError):
            return
        if current == number or any(engine.number == current for engine in self._held):
            return
        if self._refusals.may_try(current, self._stamp(current)):
            raise Abandoned(f"generation {current} is to be served meanwhile")

    def close(self) -> None:
        """Ends following and lets go of everything; called when no request runs any more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
        self._held = ()
        self._releases.close_all()

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self.look()
            except Exception:
                # The next look may go well, and without looks nothing would ever change.
                self._logger.exception("following the store failed")

    def _refuse_missing(self, number: int, error: Exception) -> None:
        if self._refusals.may_try(number, self._stamp(number)):
            self._refuse(number, error)

    def _reach(self, current: int) -> None:
        """Makes a generation the active one, if it can be."""
        held = self._held
        if held and held[0].number == current:
            return
        for engine in held:
            if engine.number == current:
                self._refusals.remove(current)
                self._hold((engine, *(other for other in held if other is not engine)))
                self._logger.info("generation active again", generation=current)
                return
        if not self._refusals.may_try(current, self._stamp(current)):
            return
        made, _ = self._try(current)
        if made is None:
            return
        if self._pointer.read(self._refuse_missing) not in (current, None):
            # Taken back before it was ready: that may be because it is bad.
            self._logger.info("a generation was taken back before it was active", generation=current)
            return
        self._hold((made, *self._kept(held)))
        self._logger.info("generation active", generation=current)

    def _kept(self, held: tuple[E, ...]) -> tuple[E, ...]:
        """What stays beside a new active generation: the one that was active, or the one that is asked for instead."""
        kept = held[:1]
        for engine in held[1:]:
            asked, active_asked = (self._last_asked.get(one.number, float("-inf")) for one in (engine, held[0]))
            if asked > active_asked + _UNASKED_SECONDS:
                kept = (engine,)
        return kept

    def _complete(self) -> None:
        """Loads the generation before the active one where only that is held."""
        held = self._held
        if len(held) != 1:
            self._before = None
            return
        if self._before_of != held[0].number:
            # Asked once: lower numbers are not given later, and a remote store answers with a listing.
            try:
                self._before = self._store.previous(held[0].number)
            except (BundleError, OSError):
                return  # of a store that cannot be read the look at CURRENT has told
            self._before_of = held[0].number
        if self._before is None or not self._refusals.may_try(self._before, self._stamp(self._before)):
            return
        made, _ = self._try(self._before)
        if made is not None:
            self._hold((*held, made))

    def _try(self, number: int) -> tuple[E, None] | tuple[None, Exception]:
        """Prepares a generation; where that fails it is refused, unless nobody wants it any more."""
        started = time.monotonic()
        try:
            engine = self._make(number)
        except Abandoned as error:
            self._logger.info("preparing a generation was given up", generation=number, reason=str(error))
            return None, error
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a bundle must not end the service
            self._refuse(number, error)
            return None, error
        self._refusals.remove(number)
        if self._metrics is not None:
            self._metrics.prepared(time.monotonic() - started)
        return engine, None

    def _make(self, number: int) -> E:
        self._preparing = number
        if self._held:
            sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            engine = self._prepare(number)
        finally:
            sys.setswitchinterval(_USUAL_SWITCH_SECONDS)
            self._preparing = 0
        if self._closer_of is not None:
            self._releases.watch_over(engine, self._closer_of(engine))
        if self._stopping.is_set():
            raise Abandoned("the service stops")
        return engine

    def _hold(self, held: tuple[E, ...]) -> None:
        before = self._held
        self._held = held
        swapped = bool(before) and before[0] is not held[0]
        if swapped:
            self._last_asked = {}
        if self._metrics is not None:
            self._metrics.hold([engine.number for engine in held], swapped=swapped)

    def _refuse(self, number: int, error: Exception) -> None:
        reason = reason_of(error)
        may_pass = isinstance(error, self._may_pass)
        if self._metrics is not None:
            self._metrics.refused()
        if self._refusals.add(number, reason, self._stamp(number), may_pass=may_pass):
            self._logger.warning(
                "generation refused",
                generation=number,
                reason=reason,
                tried_again=may_pass,
                serving=[engine.number for engine in self._held],
                exc_info=error if isinstance(error, DEFECTS) else None,
            )

    def _stamp(self, number: int) -> Hashable:
        return manifest_stamp(self._store, number)
