"""Reads a store's CURRENT again and again, whatever state the store is in."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from structlog.typing import FilteringBoundLogger

from twostage.bundle.errors import BundleCorrupt, BundleError, GenerationMissing
from twostage.bundle.manifest import MANIFEST_NAME
from twostage.bundle.store import Store
from twostage.generations.reason import reason_of


class Pointer:
    """CURRENT as it can be read; a store that cannot be read is told of once, until it can be again.

    Args:
        store: The store.
        logger: Is told.
    """

    def __init__(self, store: Store, logger: FilteringBoundLogger) -> None:
        self._store = store
        self._logger = logger
        self._readable = True

    def read(self, on_missing: Callable[[int, Exception], None]) -> int | None:
        """The generation that CURRENT names; None when it cannot be read, or that generation is not there.

        Args:
            on_missing: Called with a generation that is named and not there, and with what says so.
        """
        try:
            current = self._store.current()
        except (BundleError, OSError) as error:
            named = named_by(error)
            if named is not None:
                on_missing(named, error)
            if self._readable:
                self._readable = False
                self._logger.warning("the store's CURRENT cannot be followed", reason=reason_of(error))
            return None
        if not self._readable:
            self._readable = True
            self._logger.info("the store's CURRENT can be followed again", generation=current)
        return current


def named_by(error: Exception) -> int | None:
    """The generation that CURRENT names and that is not there or not whole, as Store.current says it; else None."""
    if isinstance(error, GenerationMissing):
        return error.generation
    if isinstance(error, BundleCorrupt) and error.path.name == MANIFEST_NAME and error.path.parent.name.isdecimal():
        return int(error.path.parent.name)
    return None


def manifest_stamp(store: Store, generation: int) -> Hashable:
    """What a generation's manifest looks like from outside, to notice another one; None when there is none."""
    try:
        state = (store.generations_path / str(generation) / MANIFEST_NAME).stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size
