"""A set of a catalogue's rows, as a bitmap."""

from __future__ import annotations

from functools import cached_property
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

R = TypeVar("R", bound=np.integer)

_WORD = 64
_SPARSE = 200
"""With fewer than one row in so many, whole words are empty and worth passing over."""
_DENSE = 64
"""With more than one row in so many, a mask is made first and packed."""


def word_count(item_count: int) -> int:
    """How many 64-bit words hold one bit for each of ``item_count`` rows."""
    return -(-item_count // _WORD)


class RowSet:
    """Rows of a catalogue; immutable.

    A bitmap is what index libraries test fastest and what combines fastest: at a million rows two sets meet in some
    microseconds.

    Args:
        words: uint64[ceil(N / 64)], row r at bit r % 64 of word r // 64; bits past N are 0. Not copied. The
            machine is little-endian, as all that the libraries below support are.
        item_count: N, the catalogue's size.
    """

    __slots__ = ("__dict__", "item_count", "words")

    def __init__(self, words: NDArray[np.uint64], item_count: int) -> None:
        self.words = words
        self.item_count = item_count

    @classmethod
    def all_rows(cls, item_count: int) -> Self:
        """Every row."""
        words = np.full(word_count(item_count), ~np.uint64(0))
        if item_count % _WORD:
            words[-1] = (np.uint64(1) << np.uint64(item_count % _WORD)) - np.uint64(1)
        return cls(words, item_count)

    @classmethod
    def of_rows(cls, rows: NDArray[np.integer], item_count: int) -> Self:
        """The given rows; repeats are harmless."""
        if len(rows) * _DENSE > item_count:
            mask = np.zeros(item_count, np.bool_)
            mask[rows] = True
            return cls.of_mask(mask)
        words = np.zeros(word_count(item_count), np.uint64)
        _set_bits(words, rows)
        return cls(words, item_count)

    @classmethod
    def of_ascending(cls, rows: NDArray[np.uint32], item_count: int) -> Self:
        """The given rows, uint32, ascending, without repeats; they are kept beside the bitmap."""
        made = cls.of_rows(rows, item_count)
        made.__dict__["rows"] = rows
        return made

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_]) -> Self:
        """The rows at which ``mask``, bool[N], is True."""
        octets = np.zeros(8 * word_count(len(mask)), np.uint8)
        packed = np.packbits(mask, bitorder="little")
        octets[: len(packed)] = packed
        return cls(octets.view(np.uint64), len(mask))

    def __len__(self) -> int:
        """How many rows there are."""
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(np.bitwise_count(self.words).sum())

    @property
    def octets(self) -> NDArray[np.uint8]:
        """uint8[8 ceil(N / 64)], row r at bit r % 8 of byte r // 8: the layout of FAISS's bitmap selector."""
        return self.words.view(np.uint8)

    @cached_property
    def rows(self) -> NDArray[np.uint32]:
        """uint32[M], the rows, ascending."""
        if len(self) * _SPARSE > self.item_count:
            return np.flatnonzero(self.mask).astype(np.uint32)
        # Words without a bit are passed over: a sparse set costs what it holds, not the catalogue's size.
        full = np.flatnonzero(self.words)
        positions = np.flatnonzero(np.unpackbits(self.words[full].view(np.uint8), bitorder="little").view(np.bool_))
        rows: NDArray[np.uint32] = (full[positions >> 6] * _WORD + (positions & 63)).astype(np.uint32)
        return rows

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[N], True at the rows; made anew on every call."""
        return np.unpackbits(self.octets, count=self.item_count, bitorder="little").view(np.bool_)

    def has(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """bool[len(rows)], which of ``rows`` are in the set."""
        octets = self.octets
        found: NDArray[np.bool_] = (octets[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1
        return found

    def keep(self, rows: NDArray[R]) -> NDArray[R]:
        """Those of ``rows`` that are in the set, in their order."""
        kept: NDArray[R] = rows[self.has(rows)]
        return kept

    def without(self, rows: NDArray[np.integer]) -> Self:
        """The set less ``rows``; repeats are harmless."""
        words = np.zeros_like(self.words)
        _set_bits(words, rows)
        np.invert(words, out=words)
        words &= self.words
        return type(self)(words, self.item_count)

    def __and__(self, other: RowSet) -> RowSet:
        """Rows of both."""
        return RowSet(self.words & other.words, self.item_count)

    def __or__(self, other: RowSet) -> RowSet:
        """Rows of either."""
        return RowSet(self.words | other.words, self.item_count)

    def __sub__(self, other: RowSet) -> RowSet:
        """Rows of this that are not in the other."""
        return RowSet(self.words & ~other.words, self.item_count)


def _set_bits(words: NDArray[np.uint64], rows: NDArray[np.integer]) -> None:
    octets = words.view(np.uint8)
    # Several rows may share a byte, so assignment would lose some.
    np.bitwise_or.at(octets, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))
