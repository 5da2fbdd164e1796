"""One list of candidates out of several sources."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from twostage.candidates.source import Source


class Blend:
    """Fills a number of places with what sources bring; a candidate takes one place whoever brings it.

    Args:
        place_count: How many candidates there can be.
        quotas: The most candidates that a source may bring, those included that another brought before.
    """

    def __init__(self, place_count: int, quotas: Mapping[Source, int]) -> None:
        self._place_count = place_count
        self._quotas = quotas
        self._rows = np.empty(0, np.uint32)
        self._sources = np.empty(0, np.uint8)

    @property
    def free_count(self) -> int:
        """Places that are left."""
        return self._place_count - len(self._rows)

    def limit(self, source: Source) -> int:
        """How many rows the source needs to be asked for at most."""
        return min(self._place_count, self._quotas.get(source, self._place_count))

    def bring(self, source: Source, rows: NDArray[np.uint32]) -> None:
        """Seats rows, the first first, until the places are taken or the source's quota is spent.

        Args:
            source: Who brings them; each source brings once.
            rows: uint32[M], distinct. Those that are seated already only get the source's bit.
        """
        rows = rows[: self.limit(source)]
        if not len(self._rows):
            self._rows = rows
            self._sources = np.full(len(rows), source, np.uint8)
            return
        order = np.argsort(self._rows)
        seats = np.searchsorted(self._rows, rows, sorter=order)
        seats = order[np.minimum(seats, len(order) - 1)]
        seated = self._rows[seats] == rows
        # The walk ends where the last place is taken; what is seated already and comes later was not walked over.
        walked = np.cumsum(~seated) <= self.free_count
        if not walked.all():
            end = int(np.argmin(walked))
            rows, seats, seated = rows[:end], seats[:end], seated[:end]
        self._sources[seats[seated]] |= np.uint8(source)
        self._rows = np.concatenate([self._rows, rows[~seated]])
        self._sources = np.concatenate([self._sources, np.full(len(rows) - int(seated.sum()), source, np.uint8)])

    def result(self) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Rows and their sources' bits, in the order in which they were seated."""
        return self._rows, self._sources
