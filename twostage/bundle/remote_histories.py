"""People's histories of a remote store: uploaded with a list of their sums, downloaded as a whole."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from twostage.bundle.cache import Cache
from twostage.bundle.checksums import sum_folder
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import FileEntry
from twostage.bundle.remote_folder import ObjectMissing, RemoteFolder
from twostage.bundle.transfer import Meter, for_each

_ENTRIES = TypeAdapter(dict[str, FileEntry])


def send(remote: RemoteFolder, root: Path, generation: int, *, parallel_count: int) -> None:
    """Uploads ``users/<generation>/`` below ``root``, if there is one, and last its list, without which it is not seen.

    Raises:
        StoreUnreachable: The store does not answer.
    """
    name = f"users/{generation}"
    folder = root / name
    if not folder.is_dir():
        return
    files = sum_folder(folder)
    meter = Meter(sum(entry.byte_count for entry in files.values()), None)
    for_each(files, lambda file: remote.upload(f"{name}/{file}", folder / file), meter, parallel_count)
    remote.write(f"{name}.json", _ENTRIES.dump_json(files))


def fetch(remote: RemoteFolder, cache: Cache, generation: int) -> None:
    """Downloads ``users/<generation>/``, verified, if the store has it and the cache has not.

    Raises:
        BundleCorrupt: A file is not what the list says, or the list is none.
        StoreUnreachable: The store does not answer.
        StoreUnwritable: The cache cannot be written.
    """
    name = f"users/{generation}"
    if (cache.path / name).is_dir():
        return
    try:
        content = remote.read(f"{name}.json")
    except ObjectMissing:
        return
    try:
        files = _ENTRIES.validate_json(content)
    except ValidationError as error:
        raise BundleCorrupt(
            f"{remote.url}/{name}.json", "files and their sums", str(error.errors()[0]["msg"])
        ) from error
    for file in files:
        if any(part in ("", ".", "..") for part in file.split("/")):
            raise BundleCorrupt(f"{remote.url}/{name}.json", "files inside the folder", repr(file[:80]))
    cache.fetch_folder(name, files)
