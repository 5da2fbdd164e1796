"""What interest tags mean, as vectors in the space of the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.id_table import IdTable

_LEAST_NORM = 1e-6
"""Tags that point away from each other mean nothing together."""


@dataclass(frozen=True)
class TagVectors:
    """A vector for each tag.

    Args:
        vocabulary: The tags by number, and back.
        vectors: float32[T, D], L2-normalised.
    """

    vocabulary: IdTable
    vectors: NDArray[np.float32]

    @classmethod
    def open(cls, folder: Path, dimension: int) -> Self:
        """Maps ``vocabulary`` and ``vectors.npy`` in a folder.

        Raises:
            BundleCorrupt: A file is absent or of another shape or type.
        """
        vocabulary = IdTable.open(folder / "vocabulary")
        path = folder / "vectors.npy"
        vectors = map_array(path, shape=(len(vocabulary), dimension))
        if vectors.dtype != np.float32:
            raise BundleCorrupt(path, "float32", str(vectors.dtype))
        return cls(vocabulary, vectors)

    def mean(self, tags: Sequence[str]) -> NDArray[np.float32] | None:
        """float32[D], the mean of the known tags' vectors, L2-normalised; None when no tag is known.

        Repeats count once.
        """
        numbers = np.unique(self.vocabulary.rows(tags))
        known = numbers[numbers >= 0]
        if not len(known):
            return None
        total = self.vectors[known].sum(axis=0)
        norm = np.sqrt(total @ total)
        # A damaged vector goes on, so that whoever searches with it can say so.
        return None if norm < _LEAST_NORM else (total / norm).astype(np.float32, copy=False)
