"""A directory that holds a data set under its published file names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """Finds published files, plain or gzipped.

    Args:
        directory: Where they are.
    """

    directory: Path

    def has(self, *names: str) -> bool:
        """Says whether all of the files are there."""
        return all(self.path(name).is_file() for name in names)

    def path(self, name: str) -> Path:
        """The file of this name, or its gzipped form when only that is there."""
        plain, gzipped = self.directory / name, self.directory / f"{name}.gz"
        return gzipped if gzipped.is_file() and not plain.is_file() else plain
