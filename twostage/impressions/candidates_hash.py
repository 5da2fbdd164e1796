"""A number that tells whether two lists of candidates are the same."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


def candidates_hash(rows: NDArray[np.uint32]) -> int:
    """The CRC-32 of rows in their order as little-endian uint32; 0..2^32 - 1.

    Two different lists have the same one by a chance of one in four thousand millions.

    Args:
        rows: uint32[C].
    """
    return zlib.crc32(np.ascontiguousarray(rows, "<u4").data)
