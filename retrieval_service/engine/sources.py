"""The sources of candidates beside the user vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.catalogue import Catalogue
from twostage.bundle.attributes import ValuesColumn
from twostage.bundle.row_set import RowSet


def popular(catalogue: Catalogue, count: int, selector: RowSet | None) -> NDArray[np.uint32]:
    """The most popular rows that the selector leaves, at most ``count``, ties by row."""
    if selector is None:
        return np.array(catalogue.popular_rows[:count])
    return _most_popular(catalogue, count, selector)


def with_interest_tags(
    catalogue: Catalogue, tags: Sequence[str], count: int, selector: RowSet | None
) -> NDArray[np.uint32]:
    """The most popular rows that carry one of the tags in any multi-valued attribute, at most ``count``.

    Tags that no item carries match nothing.
    """
    carries = np.zeros(catalogue.item_count, np.bool_)
    for name in catalogue.attributes.names:
        column = catalogue.attributes.column(name)
        if isinstance(column, ValuesColumn):
            carries |= column.has_any(tags)
    if selector is not None:
        carries &= selector.mask
    return _most_popular(catalogue, count, RowSet.of_mask(carries))


def included(rows: NDArray[np.uint32], selector: RowSet | None) -> NDArray[np.uint32]:
    """The rows asked for that the selector leaves, in the order asked, without repeats."""
    kept = rows if selector is None else selector.keep(rows)
    _, first = np.unique(kept, return_index=True)
    distinct: NDArray[np.uint32] = kept[np.sort(first)]
    return distinct


def _most_popular(catalogue: Catalogue, count: int, allowed: RowSet) -> NDArray[np.uint32]:
    """Walks down the popularity, in growing strides, until ``count`` allowed rows are found."""
    found: list[NDArray[np.uint32]] = []
    missing = count
    start, stride = 0, 2 * count
    while missing > 0 and start < catalogue.item_count:
        stretch = catalogue.popular_rows[start : start + stride]
        hits = allowed.keep(stretch)[:missing]
        found.append(hits)
        missing -= len(hits)
        start += stride
        stride *= 2
    return np.concatenate(found) if found else np.empty(0, np.uint32)
