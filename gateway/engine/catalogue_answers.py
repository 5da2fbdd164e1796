"""Answers without retrieval, from the gateway's own copy of the catalogue: an earlier answer, or popular items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.engine.answer_cache import Remembered
from gateway.engine.answers import Answer, name_rows
from gateway.engine.caps import CapCounter
from gateway.engine.popular import pick_popular
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall
from gateway.engine.shortfall import state_shortfall
from gateway.engine.traces import cached_traces, popular_traces
from twostage.bundle.generation import Generation

_POPULAR_SOURCES = ("popular",)
_CACHED_SOURCES = ("cached",)
# As retrieval names what is asked for by id.
_PINNED_SOURCES = ("included",)


def popular_answer(
    request: RecommendRequest, generation: Generation, excluded_rows: Sequence[int], pins: Sequence[int] = ()
) -> Answer:
    """Pinned items and then popular ones that filter and exclusions leave, the latter within the request's caps.

    Args:
        request: What was asked.
        generation: Whose items they are.
        excluded_rows: Rows that may not be recommended.
        pins: Rows that stand first, unless filter or exclusions forbid them.
    """
    rules = _Rules(request, generation, excluded_rows, pins)
    first = rules.pinned()
    popular = rules.pick(generation.popular_rows)
    rows = np.concatenate([first, popular])
    popularity = generation.popularity[rows].tolist()
    recommendations = name_rows(
        request,
        generation,
        rows,
        popularity,
        sources=[_PINNED_SOURCES] * len(first) + [_POPULAR_SOURCES] * len(popular),
        candidate_ranks=[0] * len(rows),
        traces=popular_traces(popularity, len(first)),
    )
    return recommendations, rules.shortfall()


def cached_answer(
    request: RecommendRequest,
    generation: Generation,
    earlier: Remembered,
    excluded_rows: Sequence[int],
    pins: Sequence[int] = (),
) -> Answer | None:
    """What filter, exclusions and caps leave of an earlier answer, behind pinned items; popular ones fill it up.

    Scores are those of the earlier answer. Pinned items that it did not hold and popular ones have its lowest score, or
    0 where that is more than 0: nobody scored them.

    Args:
        request: What is asked now.
        generation: The earlier answer's.
        earlier: The answer.
        excluded_rows: Rows of that generation that may not be recommended.
        pins: Rows of that generation that stand first, unless filter or exclusions forbid them.

    Returns:
        None when nothing of the earlier answer may be recommended.
    """
    rules = _Rules(request, generation, excluded_rows, pins)
    first = rules.pinned()
    kept = rules.pick(np.frombuffer(earlier.rows, np.uint32))
    if not len(kept):
        return None
    popular = rules.pick(generation.popular_rows)
    rows = np.concatenate([first, kept, popular])
    scores = dict(zip(earlier.rows, earlier.scores, strict=True))
    positions = {row: position for position, row in enumerate(earlier.rows, start=1)}
    unscored = min(0.0, *scores.values())
    recommendations = name_rows(
        request,
        generation,
        rows,
        [scores.get(row, unscored) for row in rows.tolist()],
        sources=[_PINNED_SOURCES] * len(first) + [_CACHED_SOURCES] * len(kept) + [_POPULAR_SOURCES] * len(popular),
        candidate_ranks=[0] * len(rows),
        traces=cached_traces(
            [positions[row] for row in kept.tolist()],
            generation.popularity[popular].tolist(),
            pinned_count=len(first),
        ),
    )
    return recommendations, rules.shortfall()


class _Rules:
    """A request's filter, exclusions and caps, applied to one list of rows after the other."""

    def __init__(
        self, request: RecommendRequest, generation: Generation, excluded_rows: Sequence[int], pins: Sequence[int]
    ) -> None:
        self._count = self._missing_count = request.count
        self._item_count = generation.item_count
        self._pins = np.array(pins, np.uint32)
        self._allowed = generation.attributes.rows(request.filter) if request.filter else None
        self._excluded = list(excluded_rows)
        self._caps = CapCounter(request.diversity.caps, generation.attributes)
        self._capped = bool(request.diversity.caps)
        self._refused: set[int] = set()

    def pinned(self) -> NDArray[np.int64]:
        """The pins that filter and exclusions leave: no order and no cap holds them back, but caps count them."""
        rows = self._take(self._pins, admit=None)
        self._caps.take(rows.tolist())
        return rows

    def pick(self, rows: NDArray[np.uint32]) -> NDArray[np.int64]:
        """As many as are still missing, from rows in their order."""
        return self._take(rows, admit=self._is_within_caps if self._capped else None)

    def shortfall(self) -> Shortfall | None:
        """What is missing after the last list."""
        given_count = self._count - self._missing_count
        return state_shortfall(
            self._count,
            given_count,
            item_count=self._item_count,
            candidate_count=given_count + len(self._refused),
        )

    def _take(self, rows: NDArray[np.uint32], *, admit: Callable[[int], bool] | None) -> NDArray[np.int64]:
        picked = pick_popular(
            rows, self._missing_count, excluded_rows=self._excluded, allowed=self._allowed, admit=admit
        ).rows
        # What stands in one list stands in no later one.
        self._excluded += picked.tolist()
        self._missing_count -= len(picked)
        return picked

    def _is_within_caps(self, row: int) -> bool:
        admitted = self._caps.admit(row)
        if not admitted:
            # Lists overlap, and a row that is refused twice is one row.
            self._refused.add(row)
        return admitted
