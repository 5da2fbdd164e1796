"""What the engine reads of a generation's items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.tag_vectors import TagVectors
from twostage.bundle.arrays import map_array
from twostage.bundle.attributes import Attributes
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import OrdersEntry, TowerEntry


def _no_rows() -> NDArray[np.uint32]:
    return np.empty(0, np.uint32)


@dataclass(frozen=True)
class Catalogue:
    """The items of one generation, by row.

    Args:
        vectors: float32[N, D], L2-normalised, of the tower in use.
        popular_rows: uint32[N], all rows, the most popular first, ties by row.
        popularity: float32[N], taste interactions in training.
        attributes: What is filtered by and what carries interest tags.
        trending_rows: uint32[<= N], rows that were acted on lately, the most first.
        arrival_rows: uint32[<= N], rows whose arrival is known, the newest first.
        representative_rows: uint32[<= N], rows that stand for the catalogue's clusters, in the order of showing.
        tags: What tags mean; None where the bundle does not know.
    """

    vectors: NDArray[np.float32]
    popular_rows: NDArray[np.uint32]
    popularity: NDArray[np.float32]
    attributes: Attributes
    trending_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    arrival_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    representative_rows: NDArray[np.uint32] = field(default_factory=_no_rows)
    tags: TagVectors | None = None

    @classmethod
    def open(
        cls, folder: Path, tower: TowerEntry, *, orders: OrdersEntry, attributes: Mapping[str, str], item_count: int
    ) -> Self:
        """Maps the items in a generation's folder, published or still being written.

        Args:
            folder: The folder.
            tower: The tower in use.
            orders: Orders beside popularity.
            attributes: Name to kind.
            item_count: N.

        Raises:
            BundleCorrupt: A file is absent, of another shape or type, or names rows that are not there.
        """
        path = folder / tower.item_vectors
        vectors = map_array(path, shape=(item_count, tower.dimension))
        if vectors.dtype != np.float32:
            raise BundleCorrupt(path, "float32", str(vectors.dtype))
        items = folder / "items"
        return cls(
            vectors=vectors,
            popular_rows=_rows(folder, "items/popular_rows.npy", item_count),
            popularity=map_array(items / "popularity.npy", shape=(item_count,)),
            attributes=Attributes.open(items / "attributes", attributes, item_count),
            trending_rows=_rows(folder, orders.trending, item_count),
            arrival_rows=_rows(folder, orders.arrivals, item_count),
            representative_rows=_rows(folder, tower.representatives, item_count),
            tags=TagVectors.open(folder / tower.tags, tower.dimension) if tower.tags is not None else None,
        )

    @property
    def item_count(self) -> int:
        """N."""
        return len(self.vectors)


def _rows(folder: Path, file: str | None, item_count: int) -> NDArray[np.uint32]:
    """Distinct rows in a file; none where there is no file."""
    if file is None:
        return _no_rows()
    path = folder / file
    rows = map_array(path, shape=(None,))
    if rows.dtype != np.uint32:
        raise BundleCorrupt(path, "uint32", str(rows.dtype))
    if len(rows):
        highest = int(rows.max())
        if highest >= item_count:
            raise BundleCorrupt(path, f"rows below {item_count}", f"{highest}")
        seen = np.zeros(item_count, np.bool_)
        seen[rows] = True
        if int(np.count_nonzero(seen)) < len(rows):
            raise BundleCorrupt(path, "distinct rows", f"row {int(np.bincount(rows).argmax())} again")
    return rows
