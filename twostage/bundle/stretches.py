"""Reading many stretches of an array at once."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

_LONG = 150
"""From this mean length on, cutting stretch by stretch costs less than an index for each element."""


def stretches(array: NDArray[T], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[T]:
    """``array[start:end]`` of all stretches, one after another.

    Args:
        array: What is read.
        starts: int64[S], where each stretch starts.
        ends: int64[S], where it ends, at or after its start.
    """
    lengths = ends - starts
    total = int(lengths.sum())
    if total > _LONG * len(starts):
        pieces = [array[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    gathered_ends = np.cumsum(lengths)
    gathered: NDArray[T] = array[np.repeat(starts - (gathered_ends - lengths), lengths) + np.arange(total)]
    return gathered
