"""What the engine reads of a generation's items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array
from twostage.bundle.attributes import Attributes
from twostage.bundle.errors import BundleCorrupt


@dataclass(frozen=True)
class Catalogue:
    """The items of one generation, by row.

    Args:
        vectors: float32[N, D], L2-normalised, of the tower in use.
        popular_rows: uint32[N], all rows, the most popular first, ties by row.
        popularity: float32[N], taste interactions in training.
        attributes: What is filtered by and what carries interest tags.
    """

    vectors: NDArray[np.float32]
    popular_rows: NDArray[np.uint32]
    popularity: NDArray[np.float32]
    attributes: Attributes

    @classmethod
    def open(
        cls, folder: Path, *, vectors: str, dimension: int, attributes: Mapping[str, str], item_count: int
    ) -> Self:
        """Maps the items in a generation's folder, published or still being written.

        Args:
            folder: The folder.
            vectors: The item vectors' path in it.
            dimension: D.
            attributes: Name to kind.
            item_count: N.

        Raises:
            BundleCorrupt: A file is absent or of another shape or type.
        """
        item_vectors = map_array(folder / vectors, shape=(item_count, dimension))
        if item_vectors.dtype != np.float32:
            raise BundleCorrupt(folder / vectors, "float32", str(item_vectors.dtype))
        items = folder / "items"
        return cls(
            vectors=item_vectors,
            popular_rows=map_array(items / "popular_rows.npy", shape=(item_count,)),
            popularity=map_array(items / "popularity.npy", shape=(item_count,)),
            attributes=Attributes.open(items / "attributes", attributes, item_count),
        )

    @property
    def item_count(self) -> int:
        """N."""
        return len(self.vectors)
