"""Ids to rows by one vectorised look-up over mapped, sorted hashes.

Each id is hashed to 128 bits (XXH3). The lower halves are sorted and searched, the upper halves confirm the hit. No
table is built when a generation is opened: an id costs about log2(N) touched cache lines, a table 20 bytes an item on
disk and nothing resident until it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.strings import StringColumn


def _hashes(ids: Sequence[str], seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    digest = xxhash.xxh3_128_digest
    packed = np.frombuffer(b"".join([digest(i.encode("utf-8", "surrogatepass"), seed) for i in ids]), ">u8")
    halves = packed.reshape(len(ids), 2).astype(np.uint64)
    return halves[:, 1], halves[:, 0]


class IdTable:
    """The ids of a generation's items, by row and back.

    Args:
        ids: The ids, by row.
        low: uint64[N], lower halves of the ids' hashes, ascending.
        high: uint64[N], upper halves in the same order.
        rows: uint32[N], the row of each hash.
        seed: The seed under which no two lower halves are equal.
    """

    def __init__(
        self,
        ids: StringColumn,
        low: NDArray[np.uint64],
        high: NDArray[np.uint64],
        rows: NDArray[np.uint32],
        seed: int,
    ) -> None:
        self._ids = ids
        self._low = low
        self._high = high
        self._rows = rows
        self._seed = seed

    @classmethod
    def open(cls, stem: Path) -> IdTable:
        """Maps the table written under ``stem``.

        Raises:
            BundleCorrupt: A file is absent or the files disagree about the number of ids.
        """
        ids = StringColumn.open(stem)
        count = len(ids)
        parts = [map_array(stem.with_name(f"{stem.name}.{part}.npy")) for part in ("low", "high", "rows", "seed")]
        for part in parts[:3]:
            if part.shape != (count,):
                raise BundleCorrupt(stem, f"{count} hashes", f"shape {part.shape}")
        return cls(ids, parts[0], parts[1], parts[2], int(parts[3][0]))

    @staticmethod
    def write(stem: Path, ids: Sequence[str]) -> None:
        """Writes the ids and their hash table under ``stem``.

        Raises:
            ValueError: An id occurs twice.
        """
        if len(set(ids)) != len(ids):
            raise ValueError("ids: expected distinct ids, found a repeated one")
        seed = 0
        while True:
            low, high = _hashes(ids, seed)
            order = np.argsort(low, kind="stable")
            low = low[order]
            if not np.any(low[1:] == low[:-1]):
                break
            seed += 1
        StringColumn.write(stem, ids)
        for part, array in (
            ("low", low),
            ("high", high[order]),
            ("rows", order.astype(np.uint32)),
            ("seed", np.array([seed], np.uint64)),
        ):
            write_array(stem.with_name(f"{stem.name}.{part}.npy"), array)

    def __len__(self) -> int:
        """The number of ids."""
        return len(self._ids)

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The rows of ids.

        Returns:
            int64[len(ids)], -1 where the id is unknown.
        """
        if not ids or not len(self):
            return np.full(len(ids), -1, np.int64)
        low, high = _hashes(ids, self._seed)
        positions = np.searchsorted(self._low, low)
        positions[positions == len(self._low)] = 0
        found = (self._low[positions] == low) & (self._high[positions] == high)
        return np.where(found, self._rows[positions].astype(np.int64), -1)

    def ids(self, rows: NDArray[np.integer] | Sequence[int]) -> list[str]:
        """The ids of rows, in their order."""
        return self._ids.take(rows)

    def __getitem__(self, row: int) -> str:
        """The id of a row."""
        return self._ids[row]
