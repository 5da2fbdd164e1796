"""Sums of a bundle's files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import FileEntry
from twostage.bundle.transfer import Meter

_BLOCK_BYTES = 4 << 20


def sum_file(path: Path) -> FileEntry:
    """The sha256 and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, byte_count=path.stat().st_size)


def sum_folder(folder: Path) -> dict[str, FileEntry]:
    """The sums of all files below a folder, by POSIX path relative to it, in order."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sum_file(path) for path in paths}


def verify_file(path: Path, expected: FileEntry, meter: Meter | None = None) -> None:
    """Compares a file with its sum.

    Args:
        path: The file.
        expected: Its size and sum.
        meter: Counts the bytes that were read.

    Raises:
        BundleCorrupt: It is absent, of another size, or of another sum.
    """
    if not path.is_file():
        raise BundleCorrupt(path, f"a file of {expected.byte_count} bytes", "no file")
    try:
        size = path.stat().st_size
        if size != expected.byte_count:
            raise BundleCorrupt(path, f"{expected.byte_count} bytes", f"{size} bytes")
        digest = hashlib.sha256()
        # One buffer for the whole file: for blocks of their own the kernel did as much work as the sum.
        block = memoryview(bytearray(min(_BLOCK_BYTES, max(size, 1))))
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(block[:count])
                if meter is not None:
                    meter.add(count)
    except OSError as error:
        # Removed while it is looked at, a failing disk, another person's file.
        raise BundleCorrupt(path, f"a file of {expected.byte_count} bytes", error.strerror or str(error)) from error
    received = digest.hexdigest()
    if received != expected.sha256:
        raise BundleCorrupt(path, f"sha256 {expected.sha256[:12]}…", f"sha256 {received[:12]}…")


def verify_files(
    root: Path, files: Mapping[str, FileEntry], prefixes: Iterable[str] = ("",), *, meter: Meter | None = None
) -> int:
    """Compares files with their sums.

    Args:
        root: What the files' paths are relative to.
        files: Paths and sums.
        prefixes: Only paths that start with one of these are read.
        meter: Counts the bytes that were read.

    Returns:
        How many files were compared.

    Raises:
        BundleCorrupt: A file is absent, of another size, or of another sum.
    """
    wanted = tuple(prefixes)
    chosen = {relative: expected for relative, expected in files.items() if relative.startswith(wanted)}
    for relative, expected in chosen.items():
        verify_file(root / relative, expected, meter)
    return len(chosen)
