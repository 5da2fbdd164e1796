"""What is asked of the engine and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.filters import Filter
from twostage.candidates.source import Source
from twostage.features.history import History


class ShortfallReason(Enum):
    """Why there are fewer candidates than asked for."""

    CATALOGUE_TOO_SMALL = "catalogue_too_small"
    """The catalogue holds fewer items than asked for."""
    EXCLUDED = "excluded"
    """Filters and exclusions leave fewer items than asked for."""
    SELECTION_POLICY = "selection_policy"
    """The quotas let fewer candidates through."""


@dataclass(frozen=True)
class Shortfall:
    """How many candidates are missing, at least 1, and why."""

    missing_count: int
    reason: ShortfallReason


def _no_rows() -> NDArray[np.uint32]:
    return np.empty(0, np.uint32)


@dataclass(frozen=True)
class RetrievalQuery:
    """Asks for candidates.

    Args:
        history: The person's taste, oldest first; the newest 50 entries are read. Empty: no user vector.
        count: How many candidates, 1 or more.
        exclude_rows: uint32[E], rows that may not be candidates; repeats are harmless.
        filter: Which items may be candidates; an empty one lets every item pass.
        interest_tags: Values of any multi-valued attribute.
        quotas: The most candidates a source may bring; sources without one are bounded by `count` alone.
        include_rows: uint32[I], rows that must be candidates unless the exclusions or the filter say otherwise.
    """

    history: History
    count: int
    exclude_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    filter: Filter = field(default_factory=Filter)
    interest_tags: tuple[str, ...] = ()
    quotas: Mapping[Source, int] = field(default_factory=dict)
    include_rows: NDArray[np.uint32] = field(default_factory=_no_rows)


@dataclass(frozen=True)
class Candidates:
    """Candidates as parallel columns of length K, best first; K + the shortfall's missing count = the query's count.

    Args:
        rows: uint32[K], distinct.
        scores: float32[K], user vector · item vector; 0 without a history.
        sources: uint8[K], bit sets of :class:`Source`.
        shortfall: None when nothing is missing.
        timings_ms: Milliseconds by step: ``select`` (filter and exclusions), ``user_tower``, ``search``, ``blend``.
    """

    rows: NDArray[np.uint32]
    scores: NDArray[np.float32]
    sources: NDArray[np.uint8]
    shortfall: Shortfall | None
    timings_ms: Mapping[str, float]
