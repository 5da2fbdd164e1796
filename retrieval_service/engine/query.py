"""What is asked of the engine and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.filters import Filter
from twostage.candidates.shortfall import Shortfall
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList
from twostage.features.history import History


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
        interest_tags: Values of any multi-valued attribute; unknown ones are ignored, repeats are harmless.
        quotas: The most candidates a source may bring; sources without one are bounded by `count` alone.
        include_rows: uint32[I], rows that must be candidates unless the exclusions or the filter say otherwise.
        return_source_ranks: True asks for each candidate's rank in each source that brought it.
        return_history_weights: True asks for what each entry of the history weighs in the user vector.
    """

    history: History
    count: int
    exclude_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    filter: Filter = field(default_factory=Filter)
    interest_tags: tuple[str, ...] = ()
    quotas: Mapping[Source, int] = field(default_factory=dict)
    include_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    return_source_ranks: bool = False
    return_history_weights: bool = False


@dataclass(frozen=True)
class SimilarQuery:
    """Asks for the items nearest to one.

    Args:
        row: Whose neighbours; never among them.
        count: How many, 1 or more.
        exclude_rows: uint32[E], rows that may not be answered; repeats are harmless.
        filter: Which items may be answered; an empty one lets every item pass.
    """

    row: int
    count: int
    exclude_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    filter: Filter = field(default_factory=Filter)


@dataclass(frozen=True)
class Candidates:
    """Candidates as parallel columns of length K, best first; K + the shortfall's missing count = the query's count.

    Args:
        rows: uint32[K], distinct.
        scores: float32[K], user vector · item vector, whatever the source. The vector made of interest tags is the
            user vector of a person without a history; without either the scores are 0.
        sources: uint16[K], bit sets of :class:`twostage.candidates.source.Source`.
        shortfall: None when nothing is missing.
        timings_ms: Milliseconds by step: ``select`` (filter and exclusions), ``user_tower``, ``search``, ``blend``.
        source_ranks: uint32[K] for each source that brought a candidate, its rank there, from 1; 0 for a candidate
            that it did not bring. Empty unless asked for.
        history_weights: As of :class:`Gathered`.
    """

    rows: NDArray[np.uint32]
    scores: NDArray[np.float32]
    sources: NDArray[np.uint16]
    shortfall: Shortfall | None
    timings_ms: Mapping[str, float]
    source_ranks: Mapping[Source, NDArray[np.uint32]] = field(default_factory=dict)
    history_weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Shard:
    """Which part of a catalogue an engine searches: number ``index``, from 0, of ``count``."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Gathered:
    """What the sources brought, before it is blended.

    Args:
        lists: In the order in which they are seated, the lists of one source side by side.
        item_count: How many items could be found if nothing were asked of them.
        allowed_count: How many of them filter and exclusions leave, in the whole catalogue.
        timings_ms: Milliseconds by step: ``select``, ``user_tower``, ``search``.
        history_weights: float32[H], the part of each entry of the query's history in the user vector, of sum 1; 0 for
            entries older than those that the tower reads. None unless asked for, without a history, or when the tower
            does not tell.
    """

    lists: Sequence[SourceList]
    item_count: int
    allowed_count: int
    timings_ms: Mapping[str, float]
    history_weights: NDArray[np.float32] | None = None
