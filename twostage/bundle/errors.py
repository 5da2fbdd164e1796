"""What can be wrong with a store or a bundle.

::

    BundleError
    ├── StoreMissing          the directory is not a store, or holds no generation
    ├── GenerationMissing     the store has no such generation
    ├── BundleCorrupt         a file is absent, cut short, altered, or does not fit the manifest
    ├── BundleUnsupported     a format version that this program does not read
    └── StoreBusy             another process is publishing the same generation
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class BundleError(Exception):
    """Anything wrong with a store or a bundle; the message is one clear line."""


class StoreMissing(BundleError):
    """There is no store, or nothing was ever published to it."""


class GenerationMissing(BundleError):
    """The store has no such generation.

    Args:
        generation: The generation asked for.
        present: Those that are there.
    """

    def __init__(self, generation: int, present: Iterable[int]) -> None:
        held = ", ".join(str(g) for g in present) or "none"
        super().__init__(f"generation {generation} is not in the store; present: {held}")
        self.generation = generation


class BundleCorrupt(BundleError):
    """A file of a bundle is not what the manifest says.

    Args:
        path: The file.
        expected: What the manifest says.
        received: What was found.
    """

    def __init__(self, path: Path | str, expected: str, received: str) -> None:
        super().__init__(f"{path}: expected {expected}, found {received}")
        self.path = Path(path)


class BundleUnsupported(BundleError):
    """The bundle was written in a format that this program does not read."""


class StoreBusy(BundleError):
    """Another process writes to the store in a way that cannot be shared."""
