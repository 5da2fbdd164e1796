"""A column of strings as one blob and its offsets; mapped, never parsed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.errors import BundleCorrupt


class StringColumn:
    """N strings, read by row.

    Args:
        blob: uint8[B], the UTF-8 bytes of all strings, one after another.
        offsets: uint64[N + 1], where each string starts; the last is B.
    """

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.uint64]) -> None:
        self._bytes = blob.data
        self._offsets = offsets

    @classmethod
    def open(cls, stem: Path) -> StringColumn:
        """Maps the column written under ``stem``.

        Raises:
            BundleCorrupt: A file is absent or the offsets do not end where the blob does.
        """
        blob_path = stem.with_name(stem.name + ".blob.npy")
        blob = map_array(blob_path, shape=(None,))
        offsets = map_array(stem.with_name(stem.name + ".offsets.npy"), shape=(None,))
        if len(offsets) == 0 or int(offsets[-1]) != len(blob):
            end = int(offsets[-1]) if len(offsets) else "none"
            raise BundleCorrupt(blob_path, f"{end} bytes, the last offset", f"{len(blob)} bytes")
        return cls(blob, offsets)

    @staticmethod
    def write(stem: Path, strings: Iterable[str]) -> None:
        """Writes ``stem``.blob.npy and ``stem``.offsets.npy."""
        encoded = [string.encode() for string in strings]
        offsets = np.zeros(len(encoded) + 1, np.uint64)
        np.cumsum(np.fromiter((len(e) for e in encoded), np.uint64, len(encoded)), out=offsets[1:])
        write_array(stem.with_name(stem.name + ".blob.npy"), np.frombuffer(b"".join(encoded), np.uint8))
        write_array(stem.with_name(stem.name + ".offsets.npy"), offsets)

    def __len__(self) -> int:
        """The number of strings."""
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> str:
        """The string of a row."""
        start, end = int(self._offsets[row]), int(self._offsets[row + 1])
        return str(self._bytes[start:end], "utf-8")

    def take(self, rows: NDArray[np.integer] | Sequence[int]) -> list[str]:
        """The strings of many rows, in their order."""
        positions = np.asarray(rows, dtype=np.int64)
        starts = self._offsets[positions].tolist()
        ends = self._offsets[positions + 1].tolist()
        blob = self._bytes
        return [str(blob[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]
