"""Values of items as codes into a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CodedValues:
    """Zero or more values for each of N items, as codes: what a column of values is written from.

    Args:
        offsets: int64[N + 1], where each item's codes start; the first is 0, the last is C.
        codes: uint32[C], codes of all items, one after another; those of an item are distinct.
        vocabulary: The values by code, distinct.

    Raises:
        ValueError: The offsets do not cover the codes, or a code is not in the vocabulary.
    """

    offsets: NDArray[np.int64]
    codes: NDArray[np.uint32]
    vocabulary: Sequence[str]

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        offsets, codes = self.offsets, self.codes
        if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(codes):
            ends = f"{offsets[:1]} to {offsets[-1:]}"
            raise ValueError(f"offsets: expected int64[N + 1] from 0 to {len(codes)}, received {ends}")
        if np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("offsets: expected them not to fall, found one below the one before")
        if len(codes) and int(codes.max()) >= len(self.vocabulary):
            raise ValueError(f"codes: expected 0 to {len(self.vocabulary) - 1}, received {codes.max()}")

    @classmethod
    def of_values(cls, values: Sequence[Sequence[str]]) -> Self:
        """Codes values in the order in which they first occur.

        Args:
            values: One sequence per item, in the item's order; what an item repeats is dropped.
        """
        flat = list(chain.from_iterable(values))
        vocabulary = {value: code for code, value in enumerate(dict.fromkeys(flat))}
        codes = np.fromiter(map(vocabulary.__getitem__, flat), np.uint32, len(flat))
        counts = np.fromiter(map(len, values), np.int64, len(values))
        keys = item_rows(_offsets(counts)).astype(np.uint64) << np.uint64(32) | codes
        _, first = np.unique(keys, return_index=True)
        if len(first) < len(keys):
            first.sort()
            counts = np.bincount((keys[first] >> np.uint64(32)).astype(np.intp), minlength=len(values))
            codes = codes[first]
        return cls(_offsets(counts), codes, list(vocabulary))


def item_rows(offsets: NDArray[np.int64]) -> NDArray[np.uint32]:
    """uint32[C], the item's row for each of its codes."""
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.uint32), np.diff(offsets))


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
