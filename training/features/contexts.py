"""The contexts of many requests at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twostage.features.context import CONTEXT_SIZE, Context, encode_context


def encode_contexts(times: NDArray[np.int64] | None, history_counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Encodes contexts of which only the time is known, with the very code that serves.

    Args:
        times: int64[B], Unix seconds; None when unknown.
        history_counts: int[B], history entries before the cut to 50.

    Returns:
        float32[B, 6].
    """
    encoded = np.zeros((len(history_counts), CONTEXT_SIZE), np.float32)
    seconds = np.zeros(len(history_counts), np.int64) if times is None else times
    known: dict[tuple[int, int], NDArray[np.float32]] = {}
    for position, key in enumerate(zip(seconds.tolist(), np.minimum(history_counts, 50).tolist(), strict=True)):
        if key not in known:
            known[key] = encode_context(Context(time_seconds=key[0]), key[1])[0]
        encoded[position] = known[key]
    return encoded
