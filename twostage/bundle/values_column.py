"""A column of zero or more values for each item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.coded_values import CodedValues
from twostage.bundle.id_table import IdTable
from twostage.bundle.stretches import stretches
from twostage.bundle.value_postings import ValuePostings


class ValuesColumn:
    """Zero or more values for each item, as codes into a vocabulary.

    Args:
        offsets: int64[N + 1], where each item's codes start.
        codes: uint32[C], codes of all items, one after another.
        vocabulary: The values by code, and back.
        postings: The rows by value; None builds them when they are first needed, as for bundles older than them.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        codes: NDArray[np.uint32],
        vocabulary: IdTable,
        postings: ValuePostings | None = None,
    ) -> None:
        self.offsets = offsets
        self.codes = codes
        self.vocabulary = vocabulary
        self._postings = postings
        self._building = Lock()

    @classmethod
    def open(cls, folder: Path, item_count: int) -> ValuesColumn:
        """Maps the column in ``folder``.

        Raises:
            BundleCorrupt: A file is absent or does not fit the others.
        """
        offsets = map_array(folder / "offsets.npy", shape=(item_count + 1,))
        codes = map_array(folder / "codes.npy", shape=(None,))
        vocabulary = IdTable.open(folder / "vocabulary")
        postings = ValuePostings.open(folder, code_count=len(codes), value_count=len(vocabulary), item_count=item_count)
        return cls(offsets, codes, vocabulary, postings)

    @staticmethod
    def write(folder: Path, values: Sequence[Sequence[str]] | CodedValues) -> None:
        """Writes a column.

        Args:
            folder: Where to.
            values: One sequence per item, values of an item in their order; or the same as codes.

        Raises:
            ValueError: Coded values repeat a value of the vocabulary, or a code of an item.
        """
        coded = values if isinstance(values, CodedValues) else CodedValues.of_values(values)
        offsets, codes = coded.offsets.astype(np.int64), coded.codes.astype(np.uint32)
        write_array(folder / "offsets.npy", offsets)
        write_array(folder / "codes.npy", codes)
        IdTable.write(folder / "vocabulary", coded.vocabulary)
        ValuePostings.build(offsets, codes, len(coded.vocabulary)).write(folder)

    @property
    def postings(self) -> ValuePostings:
        """The rows by value."""
        postings = self._postings
        if postings is None:
            with self._building:
                postings = self._postings
                if postings is None:
                    postings = ValuePostings.build(self.offsets, self.codes, len(self.vocabulary))
                    self._postings = postings
        return postings

    def codes_of(self, row: int) -> NDArray[np.uint32]:
        """The codes of an item, in their order."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]]

    def values_of(self, row: int) -> list[str]:
        """The values of an item, in their order."""
        return self.vocabulary.ids(self.codes_of(row))

    def known_codes(self, values: Sequence[str]) -> NDArray[np.int64]:
        """int64[S], the distinct codes of values, ascending; values nobody has are left out."""
        codes = self.vocabulary.rows(values)
        return np.unique(codes[codes >= 0])

    def have_any(self, rows: NDArray[np.uint32], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[len(rows)], which of the rows have at least one of the codes; looks at those rows alone."""
        wanted = np.zeros(len(self.vocabulary), np.bool_)
        wanted[codes] = True
        places = rows.astype(np.intp)
        starts, ends = self.offsets[places], self.offsets[places + 1]
        hits = wanted[stretches(self.codes, starts, ends).astype(np.intp)]
        hit_counts = np.zeros(len(hits) + 1, np.int64)
        np.cumsum(hits, out=hit_counts[1:])
        last = np.cumsum(ends - starts)
        found: NDArray[np.bool_] = hit_counts[last] > hit_counts[last - (ends - starts)]
        return found
