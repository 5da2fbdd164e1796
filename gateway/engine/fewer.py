"""Which candidates are ranked when there is no time for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.engine.answers import selected_positions
from gateway.engine.request import RecommendRequest
from twostage.bundle.generation import Generation


def ranked_positions(
    request: RecommendRequest, generation: Generation, rows: NDArray[np.uint32], count: int, pins: Sequence[int] = ()
) -> list[int]:
    """The positions of the candidates that are ranked: the first ones, pins, and with caps a list that is within them.

    Else what the first candidates have in common would leave the answer short, of which lower rungs make a whole one.

    Args:
        request: Whose caps and count.
        generation: Whose items they are.
        rows: uint32[C], the candidates' rows in retrieval's order.
        count: How many are ranked, at most C.
        pins: Pinned rows.
    """
    if request.diversity.caps:
        pins = rows[selected_positions(request, generation, rows.tolist(), pins)].tolist()
    return first_positions(rows, count, pins)


def first_positions(rows: NDArray[np.uint32], count: int, pins: Sequence[int] = ()) -> list[int]:
    """The positions of the first candidates in their order, pinned ones always among them.

    Args:
        rows: uint32[C], the candidates' rows in retrieval's order.
        count: How many are wanted, at most C.
        pins: Pinned rows; those further down take the places of the last of the first.

    Returns:
        ``count`` ascending positions, more where more of the candidates than that are pinned.
    """
    pinned = np.flatnonzero(np.isin(rows, np.asarray(pins, np.uint32))).tolist() if pins else []
    if not pinned or pinned[-1] < count:
        return list(range(count))
    free = max(count - len(pinned), 0)
    taken = frozenset(pinned)
    first = [position for position in range(min(count, len(rows))) if position not in taken][:free]
    return sorted([*first, *pinned])
