"""For each value of a column the rows that have it, ready to be united."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.coded_values import item_rows
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.row_set import RowSet, few_rows, sorted_rows, word_count
from twostage.bundle.stretches import stretches

_FREQUENT = 256
_MOST_BITMAPS = 128
_WORDS_A_LOOK = 10.0
"""So many words of two bitmaps are united in the time of reading and setting one row of postings."""
_ITEMS_A_LOOK = 60.0
"""So many items of an empty mask are cleared and packed in that time."""


class ValuePostings:
    """The rows of each value; a frequent value has a bitmap too.

    A value is frequent when more than one item in 256 has it: from about there on uniting its bitmap takes less time
    than setting its rows one by one. Where that would make more than 128 bitmaps for each value that an item has on
    average, the most frequent values have them; so they take at most four times the memory of the postings.

    Args:
        postings: uint32[C], rows grouped by code, ascending in each group.
        offsets: int64[V + 1], where each code's group starts.
        frequent: int64[F], codes of the frequent values, ascending.
        bitmaps: uint64[F, ceil(N / 64)], their rows as in :class:`twostage.bundle.row_set.RowSet`.
        item_count: N.
    """

    def __init__(
        self,
        postings: NDArray[np.uint32],
        offsets: NDArray[np.int64],
        frequent: NDArray[np.int64],
        bitmaps: NDArray[np.uint64],
        item_count: int,
    ) -> None:
        self._postings = postings
        self._offsets = offsets
        self._frequent = frequent
        self._bitmaps = bitmaps
        self._item_count = item_count

    @classmethod
    def build(cls, offsets: NDArray[np.int64], codes: NDArray[np.uint32], value_count: int) -> Self:
        """Turns codes by item into rows by code.

        Args:
            offsets: int64[N + 1], where each item's codes start.
            codes: uint32[C], codes of all items, one after another.
            value_count: V.

        Raises:
            ValueError: An item has a code twice.
        """
        item_count = len(offsets) - 1
        keys = codes.astype(np.uint64) << np.uint64(32) | item_rows(offsets)
        keys.sort()
        if np.any(keys[1:] == keys[:-1]):
            row = int(keys[np.argmax(keys[1:] == keys[:-1])] & np.uint64(0xFFFFFFFF))
            raise ValueError(f"codes: expected distinct codes for each item, found a repeated one for item {row}")
        postings = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        counts = np.bincount(codes, minlength=value_count)
        starts = np.zeros(value_count + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        most_frequent = np.argsort(-counts, kind="stable")[: -(-_MOST_BITMAPS * len(codes) // max(1, item_count))]
        frequent = np.sort(most_frequent[counts[most_frequent] * _FREQUENT > item_count]).astype(np.int64)
        bitmaps = np.empty((len(frequent), word_count(item_count)), np.uint64)
        for position, code in enumerate(frequent):
            bitmaps[position] = RowSet.of_ascending(postings[starts[code] : starts[code + 1]], item_count).words
        return cls(postings, starts, frequent, bitmaps, item_count)

    @classmethod
    def open(cls, folder: Path, *, code_count: int, value_count: int, item_count: int) -> Self | None:
        """Maps what was written to ``folder``; None when the bundle is older than postings.

        Raises:
            BundleCorrupt: A file is absent while the others are there, or does not fit the column.
        """
        if not (folder / "postings.npy").is_file():
            return None
        postings = map_array(folder / "postings.npy", shape=(code_count,))
        offsets = map_array(folder / "posting_offsets.npy", shape=(value_count + 1,))
        frequent = map_array(folder / "frequent.npy", shape=(None,))
        bitmaps = map_array(folder / "bitmaps.npy", shape=(len(frequent), word_count(item_count)))
        if offsets[0] != 0 or offsets[-1] != code_count or (np.diff(offsets) < 0).any():
            raise BundleCorrupt(folder / "posting_offsets.npy", f"offsets rising to {code_count}", f"{offsets[-1]}")
        # Looked at here because index libraries read wherever a row points.
        if code_count and postings.max() >= item_count:
            raise BundleCorrupt(folder / "postings.npy", f"rows below {item_count}", f"{postings.max()}")
        return cls(postings, offsets, frequent, bitmaps, item_count)

    def write(self, folder: Path) -> None:
        """Writes one .npy file for each part."""
        write_array(folder / "postings.npy", self._postings)
        write_array(folder / "posting_offsets.npy", self._offsets)
        write_array(folder / "frequent.npy", self._frequent)
        write_array(folder / "bitmaps.npy", self._bitmaps)

    def counts(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[len(codes)], how many rows have each value."""
        counts: NDArray[np.int64] = self._offsets[codes + 1] - self._offsets[codes]
        return counts

    def union(self, codes: NDArray[np.int64]) -> RowSet:
        """The rows that have at least one of the values.

        Args:
            codes: int64[S], distinct, ascending.
        """
        places, is_frequent = self._places(codes)
        rare = codes[~is_frequent]
        united: RowSet | None = self._union_of_rare(rare) if len(rare) or not len(codes) else None
        if len(rare) == len(codes):
            assert united is not None
            return united
        first, *others = places[is_frequent].tolist()
        if others:
            words = self._bitmaps[first] | self._bitmaps[others[0]]
            for place in others[1:]:
                np.bitwise_or(words, self._bitmaps[place], out=words)
            frequent = RowSet(words, self._item_count)
        else:
            frequent = self._of_frequent(first)
        return frequent if united is None else frequent | united

    def union_cost(self, codes: NDArray[np.int64]) -> float:
        """What :meth:`union` costs, in readings of one posting; a bitmap that is ready costs nothing."""
        _, is_frequent = self._places(codes)
        rare = codes[~is_frequent]
        rare_count = int(self.counts(rare).sum())
        cost = rare_count + word_count(self._item_count) * max(0, len(codes) - len(rare) - 1) / _WORDS_A_LOOK
        return cost if rare_count <= sorted_rows(self._item_count) else cost + self._item_count / _ITEMS_A_LOOK

    def _places(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where the codes stand among the frequent ones, and which of them are frequent."""
        if not len(self._frequent):
            return np.zeros(len(codes), np.intp), np.zeros(len(codes), np.bool_)
        places = np.minimum(np.searchsorted(self._frequent, codes), len(self._frequent) - 1)
        return places, self._frequent[places] == codes

    def _of_frequent(self, place: int) -> RowSet:
        code = int(self._frequent[place])
        rows = self._postings[self._offsets[code] : self._offsets[code + 1]]
        few = len(rows) <= few_rows(self._item_count)
        return RowSet(self._bitmaps[place], self._item_count, len(rows), rows=rows if few else None)

    def _union_of_rare(self, codes: NDArray[np.int64]) -> RowSet:
        rows = stretches(self._postings, self._offsets[codes], self._offsets[codes + 1])
        if len(codes) == 1:
            return RowSet.of_ascending(rows, self._item_count)
        return RowSet.of_rows(rows, self._item_count)
