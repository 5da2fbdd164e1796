"""Names the versions that the model server should hold for what this service holds."""

from __future__ import annotations

import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from twostage.bundle.errors import BundleError
from twostage.generations.model_config import ModelConfigFile


class ModelVersions:
    """Keeps a model server's config file at what is needed: two versions, three while the next one is prepared.

    Args:
        file: The config file.
        retire_seconds: How long a version stays named when its generation is no longer held; less only where another
            generation is prepared meanwhile.
        logger: Is told what cannot be written.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        file: ModelConfigFile,
        retire_seconds: float,
        logger: FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._retire_seconds = retire_seconds
        self._logger = logger
        self._clock = clock
        self._wanted: frozenset[int] = frozenset()
        self._wanted_since = clock()
        self._writable = True

    def require(self, number: int, wanted: frozenset[int], previous: int | None = None) -> None:
        """Names a generation's models beside those that are wanted anyhow, and no others.

        Args:
            number: What is about to be prepared.
            wanted: What is held or waited for.
            previous: What will be prepared after it, named already now where it can be.

        Raises:
            BundleError: A model is not in the store, or the file cannot be written.
            OSError: The file cannot be written.
        """
        self._file.need({*wanted, number}, if_there=() if previous is None else (previous,))

    def tend(self, wanted: frozenset[int]) -> None:
        """Names what is wanted, and no longer what has not been for a while; to be called again and again."""
        now = self._clock()
        if wanted != self._wanted:
            self._wanted, self._wanted_since = wanted, now
        try:
            if self._file.needed != wanted and now - self._wanted_since >= self._retire_seconds:
                self._file.need(wanted)
            else:
                self._file.keep()
        except (BundleError, OSError) as error:
            if self._writable:
                self._writable = False
                self._logger.warning("the model server's config cannot be kept", reason=str(error))
        else:
            self._writable = True
