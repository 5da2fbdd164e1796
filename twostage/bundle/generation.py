"""One opened generation: its manifest and its mapped arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array
from twostage.bundle.attributes import Attributes
from twostage.bundle.checksums import verify_files
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.id_table import IdTable
from twostage.bundle.manifest import Manifest, read_manifest
from twostage.bundle.strings import StringColumn


class Generation:
    """A published generation, opened for reading. Opening costs I/O, not parsing.

    Args:
        path: The generation's folder.
        verify: Path prefixes of the files whose sums are compared now, e.g. ``("items/", "retrieval/")``; empty
            compares none.

    Raises:
        BundleCorrupt: The manifest or a verified file is not what it should be.
        BundleUnsupported: The bundle has another format version.
    """

    def __init__(self, path: Path, *, verify: Sequence[str] = ()) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        if path.name.isdecimal() and int(path.name) != self.manifest.generation:
            raise BundleCorrupt(path / "manifest.json", f"generation {path.name}", f"{self.manifest.generation}")
        if verify:
            verify_files(path, self.manifest.files, verify)

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.manifest.generation

    @property
    def item_count(self) -> int:
        """How many items it holds."""
        return self.manifest.item_count

    @cached_property
    def ids(self) -> IdTable:
        """Item ids by row, and back."""
        table = IdTable.open(self.path / "items" / "ids")
        if len(table) != self.item_count:
            raise BundleCorrupt(self.path / "items" / "ids", f"{self.item_count} ids", f"{len(table)}")
        return table

    @cached_property
    def titles(self) -> StringColumn:
        """Titles by row, empty when unknown."""
        return StringColumn.open(self.path / "items" / "titles")

    @cached_property
    def popularity(self) -> NDArray[np.float32]:
        """float32[N], how many taste interactions each item had in training."""
        return map_array(self.path / "items" / "popularity.npy", shape=(self.item_count,))

    @cached_property
    def popular_rows(self) -> NDArray[np.uint32]:
        """uint32[N], all rows, the most popular first, ties by row."""
        return map_array(self.path / "items" / "popular_rows.npy", shape=(self.item_count,))

    @cached_property
    def attributes(self) -> Attributes:
        """The items' attributes."""
        return Attributes.open(self.path / "items" / "attributes", self.manifest.attributes, self.item_count)

    def array(self, relative: str, *, shape: tuple[int | None, ...] | None = None) -> NDArray[Any]:
        """Maps an array that the manifest names by a path relative to the generation."""
        return map_array(self.path / relative, shape=shape)
