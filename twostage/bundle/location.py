"""Where a store is: a folder or a URL, and where a URL's local copies are."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from twostage.bundle.errors import LocationUnsupported

CACHE_VARIABLE = "TWOSTAGE_CACHE"
"""Names the folder that the caches of all remote stores are made in."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FLATTENED_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")


def is_url(location: str | Path) -> bool:
    """Whether a location is a URL, as ``s3://bucket/prefix``, and not a folder."""
    return isinstance(location, str) and ("://" in location and (_URL.match(location) is not None or "::" in location))


def check_url(url: str) -> str:
    """A store's URL without a slash at its end.

    Raises:
        LocationUnsupported: It chains file systems, names no folder, or carries credentials, which belong into the
            environment.
    """
    if "::" in url:
        raise LocationUnsupported(f"{url}: expected one file system, as s3://bucket/prefix, received a chain of them")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        # Not the URL, which may carry a password.
        scheme = url.partition("://")[0]
        raise LocationUnsupported(f"{scheme}://…: expected a URL, as s3://bucket/prefix: {error}") from None
    if parts.password is not None:
        address = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        raise LocationUnsupported(f"{address}: expected credentials in the environment, received some in the address")
    stripped = url.rstrip("/")
    if stripped.endswith(":"):
        raise LocationUnsupported(f"{url}: expected a bucket or a folder behind the slashes, received none")
    return stripped


def check_path(path: Path | str) -> Path:
    """A store's folder.

    Raises:
        LocationUnsupported: It is a URL, or was one before something made a path of it, which drops a slash.
    """
    if is_url(path):
        raise LocationUnsupported(f"{path}: expected a folder here, received a URL")
    if _FLATTENED_URL.match(str(path)):
        raise LocationUnsupported(f"{path}: expected a folder, or a URL as text; this is a URL made into a path")
    return Path(path)


def cache_folder(url: str) -> Path:
    """Where the copies of a remote store are: a folder of its own in ``TWOSTAGE_CACHE``.

    Without that variable it is in ``twostage`` in the platform's cache folder: ``XDG_CACHE_HOME`` or ``~/.cache``, and
    ``~/Library/Caches`` on macOS.
    """
    root = os.environ.get(CACHE_VARIABLE)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url).strip("-")[-40:]
    folder = f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return (Path(root) if root else _platform_cache() / "twostage") / folder


def _platform_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    stated = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of XDG folders says to ignore one that is not absolute.
    return Path(stated) if Path(stated).is_absolute() else Path.home() / ".cache"
