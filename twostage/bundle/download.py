"""Downloading a bundle's files: in pieces, going on where an earlier try ended, verified before they get their name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from twostage.bundle.errors import BundleCorrupt, StoreUnwritable
from twostage.bundle.manifest import FileEntry
from twostage.bundle.remote_folder import ObjectMissing, RemoteFolder
from twostage.bundle.transfer import Meter

CHUNK_BYTES = 8 << 20
"""How much one request asks for; what is lost at the most of every file in flight when a download is killed."""


@dataclass(frozen=True)
class WantedFile:
    """A file that is to be in the cache.

    Args:
        name: Its object's name in the store.
        path: Where it goes.
        expected: Its size and sum, from the manifest.
    """

    name: str
    path: Path
    expected: FileEntry

    @property
    def part(self) -> Path:
        """Where it lies until it is whole. The sum in its name keeps what belongs to other content apart."""
        return self.path.with_name(f"{self.path.name}.part-{self.expected.sha256[:12]}")


def download(remote: RemoteFolder, wanted: WantedFile, meter: Meter, *, chunk_bytes: int = CHUNK_BYTES) -> None:
    """Downloads one file, and gives it its name when size and sum are right.

    What an earlier try left is read and gone on from. When the sum is wrong after all, the file is fetched once more
    from its beginning.

    Raises:
        BundleCorrupt: The object is absent, short, or of another sum, twice.
        StoreUnreachable: The connection broke; what came is kept.
        StoreUnwritable: The disk is full, or the folder is not ours to write to; what fitted is kept.
        Stopped: Other work failed; what came is kept.
    """
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        if not _complete(remote, wanted, meter, chunk_bytes):
            meter.add(-wanted.part.stat().st_size)
            wanted.part.unlink()
            if not _complete(remote, wanted, meter, chunk_bytes):
                size = wanted.part.stat().st_size
                wanted.part.unlink()
                _refuse(remote, wanted, size)
        wanted.part.replace(wanted.path)
    except ObjectMissing:
        raise BundleCorrupt(
            f"{remote.url}/{wanted.name}", f"a file of {wanted.expected.byte_count} bytes", "no file"
        ) from None
    except OSError as error:
        raise StoreUnwritable(wanted.path, error) from error


def _complete(remote: RemoteFolder, wanted: WantedFile, meter: Meter, chunk_bytes: int) -> bool:
    """Fetches what is missing of the part; whether all of it then has the right sum."""
    end = wanted.expected.byte_count
    digest = hashlib.sha256()
    with wanted.part.open("a+b") as file:
        received = _take_up(file, digest.update, end, meter, chunk_bytes)
        while received < end:
            chunk = remote.read(wanted.name, received, min(received + chunk_bytes, end))
            if not chunk:
                break
            file.write(chunk)
            # In the file before the meter may stop the work, so that the next try has it.
            file.flush()
            digest.update(chunk)
            received += len(chunk)
            meter.add(len(chunk))
        os.fsync(file.fileno())
    return received == end and digest.hexdigest() == wanted.expected.sha256


def _take_up(file: BinaryIO, update: Callable[[bytes], None], end: int, meter: Meter, chunk_bytes: int) -> int:
    """Sums what an earlier try left, and says how much it is."""
    file.seek(0)
    received = 0
    while block := file.read(chunk_bytes):
        update(block)
        received += len(block)
        meter.add(len(block))
    if received > end:
        # Nothing of ours writes that; the sum shows that it is wrong, and the second try is from the beginning.
        return end
    return received


def _refuse(remote: RemoteFolder, wanted: WantedFile, size: int) -> None:
    if size != wanted.expected.byte_count:
        expected, received = f"{wanted.expected.byte_count} bytes", f"{size} bytes"
    else:
        expected, received = f"sha256 {wanted.expected.sha256[:12]}…", "another sum, twice"
    raise BundleCorrupt(f"{remote.url}/{wanted.name}", expected, received)
