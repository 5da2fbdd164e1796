"""A local copy of what a remote store currently offers, for servers that read a folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from structlog.typing import FilteringBoundLogger

from twostage.bundle.errors import BundleError
from twostage.bundle.manifest import Manifest
from twostage.bundle.reads import Reads
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store
from twostage.bundle.transfer import Watch
from twostage.generations.reason import reason_of

Watched = Callable[[int], AbstractContextManager[Watch | None]]

LEAST_KEPT = 2
DEFAULT_KEPT = 3
"""As many generations as servers hold while they swap."""


class Mirror:
    """Keeps a folder at what a remote store's CURRENT names: that generation, the one before it, and CURRENT.

    The folder is a store of its own for whoever reads it. CURRENT moves there when all that is read of the generation
    is there with the sums of its manifest; what no longer counts among the newest is removed. Nobody else writes to it.

    Args:
        source: The store, with the folder as its cache.
        reads: What is copied of a generation.
        kept_count: How many generations stay, 2 or more: the current one, the one before it, and then the newest.
        logger: Is told what changed.
        watched: Shows how far the copy of a generation is.
    """

    def __init__(
        self,
        source: RemoteStore,
        reads: Callable[[Manifest], Reads],
        *,
        kept_count: int = DEFAULT_KEPT,
        logger: FilteringBoundLogger,
        watched: Watched = lambda _: nullcontext(),
    ) -> None:
        if kept_count < LEAST_KEPT:
            raise ValueError(f"kept_count: expected {LEAST_KEPT} or more, received {kept_count}")
        self._source = source
        self._folder = Store(source.path)
        self._reads = reads
        self._kept_count = kept_count
        self._logger = logger
        self._watched = watched
        self._done: tuple[int, int | None] | None = None

    def step(self) -> int:
        """Looks once, and copies what is new; looks again where CURRENT moved meanwhile, which copies may take minutes.

        Returns:
            The generation that CURRENT names, here as there.

        Raises:
            BundleError: The store cannot be read, or a file there is not what the manifest says. The folder stays as
                it was but for files of generations that nobody sees yet, with which a later call goes on.
        """
        current = self._source.current()
        while self._done is None or self._done[0] != current:
            previous = self._copy_both(current)
            newest = self._source.current()
            if newest != current:
                # Taken back before it was here: that may be because it is bad.
                self._logger.info("CURRENT moved while a generation was copied", generation=current, current=newest)
                current = newest
                continue
            self._folder.set_current(current)
            self._done = (current, previous)
            self._logger.info("generation copied", generation=current, previous=previous, folder=str(self._folder.path))
            self._remove_old(current, previous)
        return current

    def _copy_both(self, current: int) -> int | None:
        """Copies a generation, and before it the one before it, whose number is returned; None where that failed."""
        previous = self._source.previous(current)
        # First, because a server looks for the one before when the current one is there.
        if previous is not None and (self._done is None or previous not in self._folder.generations()):
            try:
                self._copy(previous)
            except BundleError as error:
                # Only a way back.
                self._logger.warning(
                    "the generation before is not copied", generation=previous, reason=reason_of(error)
                )
                previous = None
        self._copy(current)
        return previous

    def _copy(self, number: int) -> None:
        reads = self._reads(self._source.manifest(number))
        with self._watched(number) as watch:
            self._source.fetch(number, reads.prefixes, models=reads.models, watch=watch)

    def _remove_old(self, current: int, previous: int | None) -> None:
        present = self._folder.generations()
        wanted = [number for number in (current, previous) if number in present]
        newest = [number for number in reversed(present) if number not in wanted]
        for number in newest[max(0, self._kept_count - len(wanted)) :]:
            self._source.evict(number)
            self._logger.info("generation removed from the folder", generation=number)
