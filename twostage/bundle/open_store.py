"""Opening a store wherever it is."""

from __future__ import annotations

from pathlib import Path

from twostage.bundle.location import cache_folder, check_url, is_url
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store


def open_store(location: str | Path, *, cache: Path | None = None) -> Store:
    """Opens a store; nothing is read or written yet.

    Args:
        location: A folder, or the URL of one on any file system that fsspec knows, as ``s3://bucket/prefix``,
            ``file:///folder`` or ``memory://folder``. Credentials and endpoint come from the environment.
        cache: Where the copies of a remote store are, laid out as a local store; a folder made from the URL in
            ``TWOSTAGE_CACHE`` or in the platform's cache folder when None. A local store has none.

    Returns:
        A Store; what is read from it lies below its ``path`` after ``fetch``.

    Raises:
        LocationUnsupported: The URL is malformed or its protocol unknown, or its library is not installed.
        StoreUnreachable: The file system refuses to be opened.
    """
    if not is_url(location):
        return Store(location)
    url = check_url(str(location))
    return RemoteStore(url, cache or cache_folder(url))
