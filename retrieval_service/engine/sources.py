"""The sources of candidates that do not search the index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.catalogue import Catalogue
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source

_SORTED = 64
"""Where fewer than one row in so many is left, sorting those costs less than walking down the whole order."""


def rows_of(source: Source, catalogue: Catalogue, count: int, selector: RowSet | None) -> NDArray[np.uint32]:
    """The best rows that the selector leaves of a source with an order of its own, at most ``count``.

    Args:
        source: ``POPULAR``, ``TRENDING``, ``NEW`` or ``REPRESENTATIVES``.
        catalogue: The items.
        count: How many, 1 or more.
        selector: Which rows may be found; None for all.
    """
    if source is Source.POPULAR:
        return popular(catalogue, count, selector)
    order = {
        Source.TRENDING: catalogue.trending_rows,
        Source.NEW: catalogue.arrival_rows,
        Source.REPRESENTATIVES: catalogue.representative_rows,
    }[source]
    return _first_allowed(order, count, selector)


def popular(catalogue: Catalogue, count: int, selector: RowSet | None) -> NDArray[np.uint32]:
    """The most popular rows that the selector leaves, at most ``count``, ties by row."""
    if selector is not None and len(selector) * _SORTED < catalogue.item_count:
        rows = selector.rows
        best: NDArray[np.uint32] = rows[np.lexsort((rows, -catalogue.popularity[rows]))[:count]]
        return best
    return _first_allowed(catalogue.popular_rows, count, selector)


def included(rows: NDArray[np.uint32], selector: RowSet | None) -> NDArray[np.uint32]:
    """The rows asked for that the selector leaves, in the order asked, without repeats."""
    kept = rows if selector is None else selector.keep(rows)
    _, first = np.unique(kept, return_index=True)
    distinct: NDArray[np.uint32] = kept[np.sort(first)]
    return distinct


def _first_allowed(order: NDArray[np.uint32], count: int, selector: RowSet | None) -> NDArray[np.uint32]:
    """Walks down an order, in growing strides, until ``count`` rows are found or the selector leaves no more."""
    if selector is None:
        return np.array(order[:count])
    found: list[NDArray[np.uint32]] = []
    missing = min(count, len(selector))
    start, stride = 0, 2 * count
    while missing > 0 and start < len(order):
        hits = selector.keep(order[start : start + stride])[:missing]
        found.append(hits)
        missing -= len(hits)
        start += stride
        stride *= 2
    return np.concatenate(found) if found else np.empty(0, np.uint32)
