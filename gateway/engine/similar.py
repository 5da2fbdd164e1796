"""Items that are like one: what is asked, what retrieval finds, what the caller gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.engine.ladder import Rung
from gateway.engine.popular import pick_popular
from gateway.engine.request import DEFAULT_COUNT
from gateway.engine.response import Shortfall, Timing
from gateway.engine.shortfall import state_shortfall
from twostage.bundle.filters import Filter
from twostage.bundle.generation import Generation


@dataclass(frozen=True, slots=True)
class SimilarRequest:
    """A request whose fields are within the contract's bounds.

    Args:
        item_id: Like which.
        count: How many, 1..200.
        filter: Which items may be answered.
        exclude_item_ids: Items not to answer, beside the item itself; unknown ids are ignored.
        attributes: Attributes to return with each item.
    """

    item_id: str
    count: int = DEFAULT_COUNT
    filter: Filter = field(default_factory=Filter)
    exclude_item_ids: Sequence[str] = ()
    attributes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SimilarRows:
    """What was found: ``len(rows) + shortfall.missing_count`` is what was asked for.

    Args:
        rows: uint32[R], the most alike first.
        scores: float32[R], what they are ordered by, higher is better.
        shortfall: None when nothing is missing.
        timings: The call first, then the steps inside it; empty when there was no call.
    """

    rows: NDArray[np.uint32]
    scores: NDArray[np.float32]
    shortfall: Shortfall | None
    timings: Sequence[Timing] = ()


class SimilarItem(NamedTuple):
    """An item that is like the one asked about; fields as in the contract."""

    item_id: str
    score: float
    title: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SimilarResponse:
    """An answer: ``len(items) + shortfall.missing_count`` is what was asked for, always.

    Args:
        request_id: Names this answer.
        items: The most alike first.
        shortfall: None when nothing is missing.
        generation: The generation of everything that answered.
        rung: FULL or POPULAR.
        rung_reason: Why the rung is not FULL; empty when it is.
        timings: Milliseconds by call and step.
    """

    request_id: str
    items: Sequence[SimilarItem]
    shortfall: Shortfall | None
    generation: int
    rung: Rung
    rung_reason: str = ""
    timings: Sequence[Timing] = ()


def popular_instead(request: SimilarRequest, generation: Generation, item_row: int) -> SimilarRows:
    """Popular items that the request's filter and exclusions leave: the answer when retrieval gives none."""
    excluded = generation.ids.rows(request.exclude_item_ids)
    picked = pick_popular(
        generation.popular_rows,
        request.count,
        excluded_rows=[item_row, *excluded[excluded >= 0].tolist()],
        allowed=generation.attributes.rows(request.filter) if request.filter else None,
    )
    count = len(picked.rows)
    return SimilarRows(
        rows=picked.rows.astype(np.uint32),
        scores=generation.popularity[picked.rows],
        # The item itself could not be found, whatever is asked.
        shortfall=state_shortfall(request.count, count, item_count=generation.item_count - 1, candidate_count=count),
    )


def describe_items(found: SimilarRows, generation: Generation, attributes: Sequence[str]) -> list[SimilarItem]:
    """Names rows from the gateway's own copy of the catalogue."""
    describe = generation.attributes.describe
    return [
        SimilarItem(item_id, score, title, describe(row, attributes) if attributes else {})
        for item_id, score, title, row in zip(
            generation.ids.ids(found.rows),
            found.scores.tolist(),
            generation.titles.take(found.rows),
            found.rows.tolist(),
            strict=True,
        )
    ]
