"""Uploading files of a bundle, but not those that are there already."""

from __future__ import annotations

import hashlib
from pathlib import Path

from twostage.bundle.remote_folder import UPLOAD_PART_BYTES, RemoteFolder, RemoteObject
from twostage.bundle.transfer import Meter


def upload(remote: RemoteFolder, name: str, path: Path, present: RemoteObject | None, meter: Meter) -> None:
    """Uploads one file, unless what is there has its size and its entity tag.

    Args:
        remote: Where to.
        name: The object's name.
        path: The file.
        present: What a listing says of the object, None where there is none.
        meter: Counts the file's bytes.

    Raises:
        OSError: The file cannot be read.
        StoreUnreachable: The connection broke; an object is whole or not there.
        Stopped: Other work failed.
    """
    meter.add(0)
    byte_count = path.stat().st_size
    if present is None or present.byte_count != byte_count or not has_etag(path, present.etag):
        remote.upload(name, path)
    meter.add(byte_count)


def has_etag(path: Path, etag: str) -> bool:
    """Whether a file's content is what an entity tag of S3 stands for.

    The tag is the content's MD5 or, for an object sent in parts, the MD5 of the parts' MD5s, a hyphen and how many
    they are (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html). Of a tag of another kind, as of
    objects encrypted with a key of the key service, this says False.
    """
    stated, _, part_count = etag.partition("-")
    if len(stated) != 32:
        return False
    part_bytes = UPLOAD_PART_BYTES if part_count else None
    sums = _md5_of_parts(path, part_bytes)
    if not part_count:
        return sums[0].hex() == stated
    return str(len(sums)) == part_count and _md5(b"".join(sums)) == stated


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5_of_parts(path: Path, part_bytes: int | None) -> list[bytes]:
    sums: list[bytes] = []
    with path.open("rb") as file:
        if part_bytes is None:
            return [hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()]
        while part := file.read(part_bytes):
            sums.append(hashlib.md5(part, usedforsecurity=False).digest())
    return sums
