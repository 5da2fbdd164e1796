"""Publishing to a remote store: a number that is nobody else's, files, and last the manifest that shows them."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from twostage.bundle.checksums import verify_file
from twostage.bundle.durability import replace_file
from twostage.bundle.errors import BundleCorrupt, GenerationMissing, StoreBusy, StoreUnwritable
from twostage.bundle.manifest import MANIFEST_NAME, FileEntry, parse_manifest
from twostage.bundle.remote_folder import ObjectExists, ObjectMissing, RemoteFolder
from twostage.bundle.transfer import Meter, Watch, for_each
from twostage.bundle.upload import upload


def remember(remote: RemoteFolder, generation: int) -> None:
    """Says that a number was given, unless the store knows.

    Raises:
        StoreUnreachable: The store does not answer.
    """
    try:
        remote.create(f"claims/{generation}", b"\n")
    except ObjectExists:
        return


def claim(remote: RemoteFolder, claims: Path, least: int) -> int:
    """Takes the lowest number from ``least`` on that is above all that were ever given, by making its claim object.

    Where the file system makes objects conditionally (S3, local folders) no two processes get one number. Elsewhere
    two may, for a moment; the later one owns it, and the other is refused before it publishes.

    Args:
        remote: The store.
        claims: Where this machine keeps what proves that a number is its own.
        least: The lowest number that may be given.

    Raises:
        StoreUnreachable: The store does not answer.
        StoreUnwritable: The cache cannot be written.
    """
    given = [int(name) for name in [*remote.names("claims"), *remote.names("generations")] if name.isdecimal()]
    number = max(least, 1 + max(given, default=0))
    token = f"{uuid.uuid4().hex}\n".encode()
    while not _take(remote, number, token):
        number += 1
    try:
        claims.mkdir(parents=True, exist_ok=True)
        replace_file(claims / str(number), token)
    except OSError as error:
        raise StoreUnwritable(claims / str(number), error) from error
    return number


def send(remote: RemoteFolder, root: Path, generation: int, *, parallel_count: int, watch: Watch | None) -> None:
    """Uploads a generation that lies in ``root`` as in a local store.

    Raises:
        GenerationMissing: It does not.
        StoreBusy: The number is another publisher's.
        BundleCorrupt: A file is not what the manifest says.
        StoreUnreachable: The store does not answer.
    """
    name = f"generations/{generation}"
    path = root / name / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise GenerationMissing(generation, ()) from None
    if _is_published(remote, f"{name}/{MANIFEST_NAME}", content, generation):
        return
    _check_claim(remote, root / "claims", generation)
    manifest = parse_manifest(content, path)
    files = {f"{name}/{file}": entry for file, entry in manifest.files.items()} | manifest.model_files
    folders = {name, *("/".join(file.split("/", 3)[:3]) for file in manifest.model_files)}
    present = {f"{folder}/{file}": found for folder in folders for file, found in remote.objects(folder).items()}
    meter = Meter(sum(entry.byte_count for entry in files.values()), watch)

    def send_file(item: tuple[str, FileEntry]) -> None:
        file, entry = item
        verify_file(root / file, entry)
        try:
            upload(remote, file, root / file, present.get(file), meter)
        except OSError as error:
            raise BundleCorrupt(root / file, "a file to send", str(error)) from error

    for_each(files.items(), send_file, meter, parallel_count)
    # The time to upload is the time in which another publisher may have taken the number, where it can.
    _check_claim(remote, root / "claims", generation)
    try:
        remote.create(f"{name}/{MANIFEST_NAME}", content)
    except ObjectExists:
        _is_published(remote, f"{name}/{MANIFEST_NAME}", content, generation)


def _take(remote: RemoteFolder, number: int, token: bytes) -> bool:
    # An object that exists may be ours: when the answer to the first of two tries was lost.
    with suppress(ObjectExists):
        remote.create(f"claims/{number}", token)
    return remote.read(f"claims/{number}") == token


def _check_claim(remote: RemoteFolder, claims: Path, generation: int) -> None:
    try:
        token = (claims / str(generation)).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreBusy(f"{remote.url}: generation {generation} was not written here, or sent already") from None
    try:
        owner = remote.read(f"claims/{generation}")
    except ObjectMissing:
        owner = b""
    if owner != token:
        raise StoreBusy(f"{remote.url}: generation {generation} belongs to another publisher; nothing was published")


def _is_published(remote: RemoteFolder, name: str, content: bytes, generation: int) -> bool:
    """Whether exactly this was published."""
    try:
        published = remote.read(name)
    except ObjectMissing:
        return False
    if published != content:
        raise StoreBusy(f"{remote.url}: generation {generation} was published by another process")
    return True
