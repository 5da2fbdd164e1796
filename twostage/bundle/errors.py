"""What can be wrong with a store or a bundle.

::

    BundleError
    ├── StoreMissing          the directory is not a store, or holds no generation
    ├── GenerationMissing     the store has no such generation
    ├── BundleCorrupt         a file is absent, cut short, altered, or does not fit the manifest
    ├── BundleUnsupported     a format version that this program does not read
    ├── StoreBusy             another process is publishing the same generation
    ├── StoreUnreachable      a remote store does not answer, or does not let us in
    ├── StoreUnwritable       a disk is full, read-only, or not ours to write to
    ├── LocationUnsupported   a store's address that this installation cannot open
    ├── CacheForeign          a cache folder holds something else than this store's copies
    └── RollbackRefused       there is nothing to roll back to, or not what was asked for
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


class StoreUnreachable(BundleError):
    """A remote store does not answer, or does not let us in; trying again later may help.

    Args:
        url: What was asked for.
        reason: What its library says.
    """

    def __init__(self, url: str, reason: object) -> None:
        # Libraries' errors span lines and may be empty; the kind is then all there is.
        text = " ".join(str(reason).split())[:300] or type(reason).__name__
        super().__init__(f"{url}: {text}")
        self.url = url


class StoreUnwritable(BundleError):
    """A file of a store or of its cache cannot be written.

    Args:
        path: The file or folder.
        reason: What the operating system says.
    """

    def __init__(self, path: Path | str, reason: OSError) -> None:
        super().__init__(f"{path}: cannot be written: {reason.strerror or reason}")
        self.path = Path(path)


class LocationUnsupported(BundleError):
    """A store's address that this installation cannot open."""


class CacheForeign(BundleError):
    """A cache folder holds something else than copies of the store that it is used for."""


class RollbackRefused(BundleError):
    """There is nothing to roll back to, or not what was asked for."""
