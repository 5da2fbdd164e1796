"""What one source brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twostage.candidates.source import Source


@dataclass(frozen=True)
class SourceList:
    """The rows of one source, best first, as parallel columns of length M.

    A source that searches has one list for each vector that it searches with.

    Args:
        source: Which source.
        rows: uint32[M], distinct.
        scores: float32[M], user vector · item vector, 0 where there is no such vector.
        wanted_count: How many rows the source was asked for, which is also how many places it may take; the list is
            shorter where there are no more.
        keys: float32[M], what the list is ordered by, descending, ties by row: inner products with the list's vector.
            None for a source with an order of its own.
        code_keys: float32[M], in a shard's list: inner products with the codes that the index keeps; None where
            those are the keys. A shard's list holds up to ``pool_count`` rows.
        pool_count: How many rows the codes' order lets through to the keys' order.
        group: Tells the lists of one source apart.
    """

    source: Source
    rows: NDArray[np.uint32]
    scores: NDArray[np.float32]
    wanted_count: int
    keys: NDArray[np.float32] | None = None
    code_keys: NDArray[np.float32] | None = None
    pool_count: int = 0
    group: int = 0


def best_first(rows: NDArray[np.uint32], keys: NDArray[np.float32], count: int | None = None) -> NDArray[np.intp]:
    """intp[min(M, count)], positions of the highest keys, ties by row; all of them when ``count`` is None."""
    near: NDArray[np.intp] | None = None
    if count is not None and 2 * count < len(rows):
        # Only what ties with the last place or beats it needs sorting.
        least = np.partition(keys, len(keys) - count)[len(keys) - count]
        near = np.flatnonzero(keys >= least)
        rows, keys = rows[near], keys[near]
    last = len(rows) if count is None else count
    order = np.argsort(keys)[::-1]
    ordered = keys[order[: last + 1]]
    # Sorting by key alone takes a third of the time, and keys seldom tie.
    if (ordered[1:] == ordered[:-1]).any():
        order = np.lexsort((rows, -keys))
    order = order[:last]
    return order if near is None else near[order]


def best_of_pool(
    rows: NDArray[np.uint32],
    keys: NDArray[np.float32],
    code_keys: NDArray[np.float32] | None,
    pool_count: int,
    count: int,
) -> NDArray[np.intp]:
    """intp[min(M, count)], positions of the highest keys among the ``pool_count`` highest code keys, ties by row.

    Args:
        rows: uint32[M].
        keys: float32[M].
        code_keys: float32[M]; None lets all through.
        pool_count: How many the codes' order lets through to the keys' order.
        count: How many are wanted.
    """
    if code_keys is None or len(rows) <= pool_count:
        return best_first(rows, keys, count)
    pool = best_first(rows, code_keys, pool_count)
    return pool[best_first(rows[pool], keys[pool], count)]


def merge_shards(parts: Sequence[SourceList]) -> SourceList:
    """One list out of those that shards brought for the same source and group, as one index over all rows brings it.

    Args:
        parts: One list for each shard, at least one, of distinct rows, with ``keys``; empty ones need none.
    """
    first = parts[0]
    # An empty list has no keys to tell by whether codes took part, and nothing to bring.
    filled = [part for part in parts if len(part.rows)]
    if not filled:
        return first
    rows = np.concatenate([part.rows for part in filled])
    scores = np.concatenate([part.scores for part in filled])
    keys = np.concatenate([part.keys for part in filled if part.keys is not None])
    codes = [part.code_keys for part in filled if part.code_keys is not None]
    order = best_of_pool(rows, keys, np.concatenate(codes) if codes else None, filled[0].pool_count, first.wanted_count)
    return SourceList(first.source, rows[order], scores[order], first.wanted_count, keys[order], group=first.group)
