"""One list of candidates out of several sources'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from twostage.candidates.shortfall import Shortfall, shortfall_of
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList


@dataclass(frozen=True)
class Blended:
    """Candidates as parallel columns of length K, best first; K + the shortfall's missing count = the count asked for.

    Args:
        rows: uint32[K], distinct.
        scores: float32[K], user vector · item vector, 0 where there is no such vector.
        sources: uint16[K], bit sets of :class:`twostage.candidates.source.Source`.
        shortfall: None when nothing is missing.
        source_ranks: uint32[K] for each source that brought a candidate, the rank in the source's list, from 1; 0 for
            a candidate that it did not bring. Empty unless asked for.
    """

    rows: NDArray[np.uint32]
    scores: NDArray[np.float32]
    sources: NDArray[np.uint16]
    shortfall: Shortfall | None
    source_ranks: Mapping[Source, NDArray[np.uint32]] = field(default_factory=dict)


def blend(
    lists: Sequence[SourceList], count: int, *, item_count: int, allowed_count: int, with_ranks: bool = False
) -> Blended:
    """Seats what the sources brought, and orders it.

    Seating. There are ``count`` places. The sources take them one after another in the order of ``lists``, each up to
    its ``wanted_count``, the best first, until no place is left. A candidate that several sources bring takes one
    place and carries all their bits; it counts against the ``wanted_count`` of each. The lists of one source are
    dealt round: the best of each, the second of each, and so on, repeats passed over.

    Order. With a user vector (some score is not 0) by score, the highest first, ties by row, whoever brought a
    candidate. Without one by the best of its places: the j-th of a source's list stands at (j - 1/2) / m, where m is
    how far the list was walked until the places were taken. So each list is spread from the top to the end in its own
    order, and who is seated by one source loses nothing of the rank that another gives; ties as they were seated. What
    comes after interest tags that brought something only fills up: it lifts nobody, and stands after all others as it
    was seated.

    For example 6 places without a user vector, ``TRENDING`` wanting 2 with rows 7 1, ``POPULAR`` wanting 6 with rows
    1 2 3 4 5 6: seated are 7 1, then 2 3 4 5, for which popularity's list was walked to its fifth row. 1 stands at 3/4
    in the one and at 1/10 in the other. The order is 1 (1/10), 7 (1/4), 2 (3/10), 3 (1/2), 4 (7/10), 5 (9/10).

    Args:
        lists: What the sources brought, the lists of one source side by side.
        count: How many candidates are asked for, 1 or more.
        item_count: How many items the catalogue holds.
        allowed_count: How many of them filter and exclusions leave.
        with_ranks: True states each candidate's rank in each source that brought it.
    """
    only = lists[0] if len(lists) == 1 and not with_ranks else None
    if only and len(only.rows) <= count and (only.source is Source.USER_VECTOR or not only.scores.any()):
        # By far the most frequent case: the index's answer, or popularity's, is the answer.
        bits = np.full(len(only.rows), only.source.value, np.uint16)
        shortfall = shortfall_of(count, len(only.rows), item_count=item_count, allowed_count=allowed_count)
        return Blended(only.rows, only.scores, bits, shortfall)
    seats = _Seats(count)
    for source, parts in groupby(lists, key=attrgetter("source")):
        if not seats.free_count:
            break
        seats.bring(source, *_dealt(list(parts)))
    rows, scores, bits = seats.rows, seats.scores, seats.bits
    order = np.lexsort((rows, -scores)) if scores.any() else _by_place(rows, seats.brought)
    rows = rows[order]
    return Blended(
        rows,
        scores[order],
        bits[order],
        shortfall_of(count, len(rows), item_count=item_count, allowed_count=allowed_count),
        {source: _ranks(rows, brought) for source, brought in seats.brought.items()} if with_ranks else {},
    )


class _Seats:
    """Places and who has them."""

    def __init__(self, place_count: int) -> None:
        self.free_count = place_count
        self.rows = np.empty(0, np.uint32)
        self.scores = np.empty(0, np.float32)
        self.bits = np.empty(0, np.uint16)
        self.brought: dict[Source, NDArray[np.uint32]] = {}

    def bring(self, source: Source, rows: NDArray[np.uint32], scores: NDArray[np.float32]) -> None:
        """Seats distinct rows, the first first, until the places are taken; seated ones only get the source's bit."""
        if len(self.rows):
            by_row = np.argsort(self.rows)
            seats = np.searchsorted(self.rows, rows, sorter=by_row)
            seats = by_row[np.minimum(seats, len(by_row) - 1)]
            seated = self.rows[seats] == rows
            # The walk ends where the last place is taken; what is seated already and comes later is not walked over.
            walked = np.cumsum(~seated) <= self.free_count
            if not walked.all():
                end = int(np.argmin(walked))
                rows, scores, seats, seated = rows[:end], scores[:end], seats[:end], seated[:end]
            self.bits[seats[seated]] |= np.uint16(source.value)
            coming = ~seated
            new_rows, new_scores = rows[coming], scores[coming]
        else:
            new_rows, new_scores = rows, scores = rows[: self.free_count], scores[: self.free_count]
        self.rows = np.concatenate([self.rows, new_rows])
        self.scores = np.concatenate([self.scores, new_scores])
        self.bits = np.concatenate([self.bits, np.full(len(new_rows), source.value, np.uint16)])
        self.free_count -= len(new_rows)
        self.brought[source] = rows


def _dealt(parts: Sequence[SourceList]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """One source's rows, dealt from its lists, without repeats and no more than are wanted, and their scores."""
    most = parts[0].wanted_count
    if len(parts) == 1:
        return parts[0].rows[:most], parts[0].scores[:most]
    rows = np.concatenate([part.rows for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    # A stable sort by the place in the list leaves equal places in the order of the lists.
    order = np.argsort(np.concatenate([np.arange(len(part.rows)) for part in parts]), kind="stable")
    rows, scores = rows[order], scores[order]
    _, first = np.unique(rows, return_index=True)
    kept = np.sort(first)[:most]
    return rows[kept], scores[kept]


def _by_place(rows: NDArray[np.uint32], brought: Mapping[Source, NDArray[np.uint32]]) -> NDArray[np.intp]:
    """Positions of seats in the order that is used where there is no user vector."""
    places = np.full(len(rows), np.inf)
    for source, own in brought.items():
        ranks = _ranks(rows, own)
        has = ranks > 0
        places[has] = np.minimum(places[has], (ranks[has] - 0.5) / len(own))
        if source is Source.INTEREST_TAGS and len(own):
            break
    # A stable sort leaves equal ones as they were seated, also those that only fill up.
    order: NDArray[np.intp] = np.argsort(places, kind="stable")
    return order


def _ranks(rows: NDArray[np.uint32], brought: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """uint32[len(rows)], where each row stands in what a source brought, from 1; 0 where it does not."""
    ranks = np.zeros(len(rows), np.uint32)
    if len(brought):
        by_row = np.argsort(brought)
        places = by_row[np.minimum(np.searchsorted(brought, rows, sorter=by_row), len(brought) - 1)]
        hit = brought[places] == rows
        ranks[hit] = places[hit] + 1
    return ranks
