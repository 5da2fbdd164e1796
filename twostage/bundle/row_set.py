"""A set of a catalogue's rows, as a bitmap and, where they are few, as rows."""

from __future__ import annotations

from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

R = TypeVar("R", bound=np.integer)

_WORD = 64
_FEW = 32
"""With at most one row in so many, rows take no more memory than the bitmap and are kept beside it."""
_DENSE = 64
"""With more than one row in so many, a mask is made first and packed; below, bits are set one by one."""
_SORTED = 4096
_SORTED_SHARE = 512
"""Up to so many rows, or one row in so many, are put in order faster by sorting than by a bitmap."""
_FEW_RUNS = 8
"""Up to so many ascending runs are put in order faster by merging."""
_BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)
_MINUS_BITS = (256 - np.left_shift(1, np.arange(8))).astype(np.uint8)


def word_count(item_count: int) -> int:
    """How many 64-bit words hold one bit for each of ``item_count`` rows."""
    return -(-item_count // _WORD)


def few_rows(item_count: int) -> int:
    """Up to how many rows of ``item_count`` are few: a set that is given so many keeps them as rows."""
    return item_count // _FEW


def sorted_rows(item_count: int) -> int:
    """Up to how many rows of ``item_count`` are put in order faster by sorting them than by a bitmap."""
    return min(few_rows(item_count), max(_SORTED, item_count // _SORTED_SHARE))


class RowSet:
    """Rows of a catalogue; immutable, and so are the arrays it shows.

    A bitmap is what index libraries test fastest and what combines fastest: at a million rows two sets meet in some
    microseconds. A set that is given few rows keeps them as such, its bitmap is made when it is first asked for, and
    what it is combined with is looked up for those rows alone.

    Args:
        words: uint64[ceil(N / 64)], row r at bit r % 64 of word r // 64; bits past N are 0. Not copied, and not to be
            changed afterwards. The machine is little-endian, as all that the libraries below support are. None when
            rows are given: it is made of them when it is asked for.
        item_count: N, the catalogue's size.
        count: How many rows there are, where that is known; counted otherwise.
        rows: uint32[M], the rows, ascending, where they are known; found otherwise.
    """

    __slots__ = ("_count", "_rows", "_words", "item_count")

    def __init__(
        self,
        words: NDArray[np.uint64] | None,
        item_count: int,
        count: int | None = None,
        *,
        rows: NDArray[np.uint32] | None = None,
    ) -> None:
        # What is None is filled in when asked for. Threads that meet there compute the same, so nothing is locked.
        self._words = None if words is None else _frozen(words)
        self._rows = None if rows is None else _frozen(rows)
        self._count = count if rows is None else len(rows)
        self.item_count = item_count

    @classmethod
    def all_rows(cls, item_count: int) -> Self:
        """Every row."""
        words = np.full(word_count(item_count), ~np.uint64(0))
        _clear_past(words, item_count)
        return cls(words, item_count, item_count)

    @classmethod
    def of_rows(cls, rows: NDArray[np.integer], item_count: int) -> Self:
        """The given rows; repeats are harmless."""
        if len(rows) <= sorted_rows(item_count):
            return cls.of_ascending(_ascending(rows), item_count)
        mask = np.zeros(item_count, np.bool_)
        # Numpy converts other indexes bit by bit, at three times the cost.
        mask[rows.astype(np.intp)] = True
        return cls.of_mask(mask)

    @classmethod
    def of_ascending(cls, rows: NDArray[np.uint32], item_count: int) -> Self:
        """The given rows, uint32, ascending, without repeats; they are kept beside the bitmap, not copied."""
        return cls(None, item_count, rows=rows)

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_]) -> Self:
        """The rows at which ``mask``, bool[N], is True."""
        return cls(_pack(mask), len(mask))

    def __len__(self) -> int:
        """How many rows there are."""
        if self._count is None:
            self._count = int(np.bitwise_count(self.words).sum())
        return self._count

    @property
    def words(self) -> NDArray[np.uint64]:
        """uint64[ceil(N / 64)], the bitmap, read-only; see the constructor."""
        words = self._words
        if words is None:
            assert self._rows is not None
            words = self._words = _frozen(_bitmap(self._rows, self.item_count))
        return words

    @property
    def octets(self) -> NDArray[np.uint8]:
        """uint8[8 ceil(N / 64)], row r at bit r % 8 of byte r // 8: the layout of FAISS's bitmap selector."""
        return self.words.view(np.uint8)

    @property
    def rows(self) -> NDArray[np.uint32]:
        """uint32[M], the rows, ascending, read-only; found anew on every call when they are many."""
        rows = self._rows
        if rows is None:
            few = len(self) <= few_rows(self.item_count)
            rows = _frozen(_few_rows_of(self.words) if few else np.flatnonzero(self.mask).astype(np.uint32))
            if few:
                self._rows = rows
        return rows

    @property
    def has_few_rows(self) -> bool:
        """True when there are few rows and they are at hand, so that looking at each is the fastest way."""
        return self._rows is not None and len(self._rows) <= few_rows(self.item_count)

    @property
    def most_bytes(self) -> int:
        """How much memory the set holds at most, once everything was asked for."""
        kept = len(self) if self._rows is not None or len(self) <= few_rows(self.item_count) else 0
        return 8 * word_count(self.item_count) + 4 * kept

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[N], True at the rows; made anew on every call."""
        return np.unpackbits(self.octets, count=self.item_count, bitorder="little").view(np.bool_)

    def has(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """bool[len(rows)], which of ``rows`` are in the set."""
        found: NDArray[np.bool_] = (self.octets[(rows >> 3).astype(np.intp)] & _BITS[rows & 7]) != 0
        return found

    def keep(self, rows: NDArray[R]) -> NDArray[R]:
        """Those of ``rows`` that are in the set, in their order."""
        kept: NDArray[R] = rows[self.has(rows)]
        return kept

    def without(self, rows: NDArray[np.integer]) -> RowSet:
        """The set less ``rows``; repeats are harmless."""
        return self - RowSet.of_rows(rows, self.item_count)

    def __and__(self, other: RowSet) -> RowSet:
        """Rows of both."""
        few, more = (self, other) if self.has_few_rows else (other, self)
        if few.has_few_rows:
            if more.has_few_rows and len(more) < len(few):
                few, more = more, few
            return RowSet.of_ascending(more.keep(few.rows), self.item_count)
        return RowSet(self.words & other.words, self.item_count)

    def __or__(self, other: RowSet) -> RowSet:
        """Rows of either."""
        few, more = (self, other) if self.has_few_rows else (other, self)
        if not few.has_few_rows:
            return RowSet(self.words | other.words, self.item_count)
        if more.has_few_rows and len(few) + len(more) <= sorted_rows(self.item_count):
            return RowSet.of_rows(np.concatenate([few.rows, more.rows]), self.item_count)
        missing = few.rows[~more.has(few.rows)]
        words = more.words.copy()
        _set_bits(words, missing)
        return RowSet(words, self.item_count, len(more) + len(missing))

    def __sub__(self, other: RowSet) -> RowSet:
        """Rows of this that are not in the other."""
        if self.has_few_rows:
            return RowSet.of_ascending(self.rows[~other.has(self.rows)], self.item_count)
        if other.has_few_rows:
            present = self.keep(other.rows)
            words = self.words.copy()
            _clear_bits(words, present)
            return RowSet(words, self.item_count, None if self._count is None else self._count - len(present))
        return RowSet(self.words & ~other.words, self.item_count)

    def __invert__(self) -> RowSet:
        """Rows that are not in the set."""
        words = ~self.words
        _clear_past(words, self.item_count)
        return RowSet(words, self.item_count, None if self._count is None else self.item_count - self._count)

    def exchanged(self, added: NDArray[np.uint32], removed: NDArray[np.uint32]) -> RowSet:
        """The set with some rows more and some fewer.

        Args:
            added: uint32[A], distinct rows in any order, none of them in the set.
            removed: uint32[B], distinct rows in any order, all of them in the set.
        """
        words = self.words.copy()
        _set_bits(words, added)
        _clear_bits(words, removed)
        return RowSet(words, self.item_count, None if self._count is None else self._count + len(added) - len(removed))


def _frozen(array: NDArray[R]) -> NDArray[R]:
    """A view that nobody can write through: sets are shared between requests."""
    view = array.view()
    view.flags.writeable = False
    return view


def _ascending(rows: NDArray[np.integer]) -> NDArray[np.uint32]:
    """uint32[M], the distinct rows, ascending."""
    given = rows.astype(np.uint32)
    run_count = 1 + np.count_nonzero(given[1:] < given[:-1])
    # Numpy's stable sort merges runs; what several values share is a run for each.
    ordered = np.sort(given, kind="stable" if run_count <= _FEW_RUNS else "quicksort") if run_count > 1 else given
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    distinct: NDArray[np.uint32] = ordered[first]
    return distinct


def _bitmap(rows: NDArray[np.uint32], item_count: int) -> NDArray[np.uint64]:
    """The words of distinct rows."""
    if len(rows) * _DENSE > item_count:
        mask = np.zeros(item_count, np.bool_)
        mask[rows.astype(np.intp)] = True
        return _pack(mask)
    words = np.zeros(word_count(item_count), np.uint64)
    _set_bits(words, rows)
    return words


def _pack(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    octets = np.zeros(8 * word_count(len(mask)), np.uint8)
    packed = np.packbits(mask, bitorder="little")
    octets[: len(packed)] = packed
    return octets.view(np.uint64)


def _clear_past(words: NDArray[np.uint64], item_count: int) -> None:
    if item_count % _WORD:
        words[-1] &= (np.uint64(1) << np.uint64(item_count % _WORD)) - np.uint64(1)


def _set_bits(words: NDArray[np.uint64], rows: NDArray[np.integer]) -> None:
    """Sets distinct bits, none of which is set."""
    # Several rows may share a byte, so assignment would lose some. For bits that are not set adding is the same as
    # `or`, and numpy has a loop for it that is three times as fast.
    np.add.at(words.view(np.uint8), (rows >> 3).astype(np.intp), _BITS[rows & 7])


def _clear_bits(words: NDArray[np.uint64], rows: NDArray[np.integer]) -> None:
    """Clears distinct bits, all of which are set."""
    # Octets wrap around, so adding the bit's complement to 256 takes it away.
    np.add.at(words.view(np.uint8), (rows >> 3).astype(np.intp), _MINUS_BITS[rows & 7])


def _few_rows_of(words: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The rows of a bitmap in which most words or most bytes are empty: both are passed over."""
    full = np.flatnonzero(words != 0)
    octets = words[full].view(np.uint8)
    set_octets = np.flatnonzero(octets != 0)
    octet_numbers = (full.astype(np.uint32) * np.uint32(8))[set_octets >> 3] + (set_octets & 7).astype(np.uint32)
    bits = np.unpackbits(octets[set_octets], bitorder="little").view(np.bool_)
    positions = np.flatnonzero(bits).astype(np.uint32)
    rows: NDArray[np.uint32] = octet_numbers[positions >> 3] * np.uint32(8) + (positions & np.uint32(7))
    return rows
