"""Sums of a bundle's files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import FileEntry


def sum_file(path: Path) -> FileEntry:
    """The sha256 and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, byte_count=path.stat().st_size)


def sum_folder(folder: Path) -> dict[str, FileEntry]:
    """The sums of all files below a folder, by POSIX path relative to it, in order."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sum_file(path) for path in paths}


def verify_files(root: Path, files: Mapping[str, FileEntry], prefixes: Iterable[str] = ("",)) -> int:
    """Compares files with their sums.

    Args:
        root: What the files' paths are relative to.
        files: Paths and sums.
        prefixes: Only paths that start with one of these are read.

    Returns:
        How many files were compared.

    Raises:
        BundleCorrupt: A file is absent, of another size, or of another sum.
    """
    wanted = tuple(prefixes)
    compared = 0
    for relative, expected in files.items():
        if not relative.startswith(wanted):
            continue
        path = root / relative
        if not path.is_file():
            raise BundleCorrupt(path, f"a file of {expected.byte_count} bytes", "no file")
        size = path.stat().st_size
        if size != expected.byte_count:
            raise BundleCorrupt(path, f"{expected.byte_count} bytes", f"{size} bytes")
        received = sum_file(path).sha256
        if received != expected.sha256:
            raise BundleCorrupt(path, f"sha256 {expected.sha256[:12]}…", f"sha256 {received[:12]}…")
        compared += 1
    return compared
