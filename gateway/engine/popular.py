"""Popular items from the gateway's own copy of the catalogue: the answer when retrieval gives none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.row_set import RowSet

# Most requests are answered from the first few hundred; a narrow filter may need the whole catalogue.
_FIRST_CHUNK = 512


@dataclass(frozen=True, slots=True)
class PopularPick:
    """What was picked.

    Args:
        rows: int64[R], the most popular first, at most as many as asked for.
        refused_count: How many that passed filter and exclusions were refused by ``admit``.
    """

    rows: NDArray[np.int64]
    refused_count: int


def pick_popular(
    popular_rows: NDArray[np.uint32],
    count: int,
    *,
    excluded_rows: Sequence[int],
    allowed: RowSet | None = None,
    admit: Callable[[int], bool] | None = None,
) -> PopularPick:
    """Picks the most popular items; reads no further down the list than needed.

    Args:
        popular_rows: uint32[N], all rows, the most popular first.
        count: How many are wanted, 0 or more.
        excluded_rows: Rows that may not be picked.
        allowed: Which items pass the filter; None when all do.
        admit: Asked for each row in order, e.g. for caps; None admits all.

    Returns:
        Exactly ``count`` rows unless fewer are allowed, not excluded and admitted.
    """
    excluded = np.asarray(excluded_rows, np.int64)
    picked: list[int] = []
    refused = 0
    start, size = 0, max(_FIRST_CHUNK, 2 * count)
    while start < len(popular_rows) and len(picked) < count:
        chunk = popular_rows[start : start + size].astype(np.int64)
        start, size = start + size, size * 4
        if allowed is not None:
            chunk = allowed.keep(chunk)
        if len(excluded):
            chunk = chunk[np.isin(chunk, excluded, invert=True)]
        if admit is None:
            picked.extend(chunk[: count - len(picked)].tolist())
            continue
        for row in chunk.tolist():
            if len(picked) == count:
                break
            if admit(row):
                picked.append(row)
            else:
                refused += 1
    return PopularPick(np.array(picked, np.int64), refused)
