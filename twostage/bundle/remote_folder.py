"""A folder behind an fsspec URL: the few operations that a store needs, and one kind of error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

from twostage.bundle.durability import replace_by_copy, replace_file
from twostage.bundle.errors import BundleError, LocationUnsupported, StoreUnreachable

UPLOAD_PART_BYTES = 16 << 20
"""Objects of at least twice this size go to S3 in parts of it; it bounds what an upload holds in memory."""


class ObjectMissing(Exception):
    """There is no such object; the message is what the file system says."""


class ObjectExists(Exception):
    """An object that may only be made is there already."""


@dataclass(frozen=True)
class RemoteObject:
    """What a listing says of an object.

    Args:
        byte_count: Its size.
        etag: The entity tag without quotes, empty where the file system has none. On S3 it is the content's MD5, or
            the MD5 of its parts' MD5s with their count.
    """

    byte_count: int
    etag: str


class RemoteFolder:
    """A folder on any file system that fsspec knows. Nothing that was listed is remembered.

    Credentials and endpoint are what the file system's own library finds in the environment.

    Args:
        url: The folder's address.

    Raises:
        LocationUnsupported: The protocol is unknown, or its library is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - part of an extra
        except ImportError:
            raise LocationUnsupported(
                f"{url}: needs the library fsspec; pip install 'twostage[store-s3]' brings it"
            ) from None
        try:
            # Another process publishes while this one looks: a remembered listing would hide it.
            system, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **_patience(url))
        except (ImportError, ValueError) as error:
            hint = "; pip install 'twostage[store-s3]' brings it" if url.startswith("s3") else ""
            raise LocationUnsupported(f"{url}: {' '.join(str(error).split())}{hint}") from error
        except Exception as error:
            raise StoreUnreachable(url, error) from error
        self._system: Any = system
        self._root = str(root).rstrip("/")
        protocols = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
        self._is_local = "file" in protocols
        self._is_s3 = "s3" in protocols

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of an object from ``start`` up to ``end``; fewer where it ends before, none past its end.

        Raises:
            ObjectMissing: There is no such object.
            StoreUnreachable: As the name says.
        """
        with self._named(name):
            try:
                # One request; without bounds s3fs would ask for the size first.
                content = self._system.cat_file(self._path(name), start=start, end=end)
            except OSError as error:
                if isinstance(error, FileNotFoundError | PermissionError):
                    raise
                # A range past an object's end is an error on S3, with a text of its own for every implementation.
                if self._system.info(self._path(name))["size"] > start:
                    raise
                return b""
            return bytes(content)

    def write(self, name: str, content: bytes) -> None:
        """Writes an object that readers see with its old content or with all of the new.

        Raises:
            StoreUnreachable: As the name says.
        """
        with self._named(name):
            if self._is_local:
                path = self._local_path(name)
                replace_file(path, content)
            else:
                self._system.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> None:
        """Writes an object unless there is one: a conditional put on S3, an exclusive open on a local file system.

        Elsewhere it is what the file system's library makes of it, at the least a look before the write.

        Raises:
            ObjectExists: There is one.
            StoreUnreachable: As the name says.
        """
        with self._named(name):
            try:
                if self._is_local:
                    with self._local_path(name).open("xb") as file:
                        file.write(content)
                else:
                    self._system.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                raise ObjectExists(name) from None

    def upload(self, name: str, path: Path) -> None:
        """Writes an object from a file.

        Raises:
            OSError: The file cannot be read.
            StoreUnreachable: As the name says.
        """
        with path.open("rb"):
            pass
        with self._named(name):
            if self._is_local:
                replace_by_copy(self._local_path(name), path)
            elif self._is_s3:
                self._system.put_file(str(path), self._path(name), chunksize=UPLOAD_PART_BYTES)
            else:
                self._system.put_file(str(path), self._path(name))

    def exists(self, name: str) -> bool:
        """Whether there is such an object.

        Raises:
            StoreUnreachable: As the name says.
        """
        try:
            with self._named(name):
                return bool(self._system.info(self._path(name))["type"] == "file")
        except ObjectMissing:
            return False

    def names(self, folder: str) -> list[str]:
        """The last parts of the names right below a folder; none where there is no such folder.

        Raises:
            StoreUnreachable: As the name says.
        """
        try:
            with self._named(folder):
                entries = self._system.ls(self._path(folder), detail=False)
        except ObjectMissing:
            return []
        return sorted({str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries})

    def objects(self, folder: str) -> dict[str, RemoteObject]:
        """All objects below a folder, by their names relative to it; none where there is no such folder.

        Raises:
            StoreUnreachable: As the name says.
        """
        try:
            with self._named(folder):
                found = self._system.find(self._path(folder), detail=True)
        except ObjectMissing:
            return {}
        start = len(self._system._strip_protocol(self._path(folder)).rstrip("/")) + 1  # noqa: SLF001 - no public name
        return {
            name[start:]: RemoteObject(int(entry["size"]), str(entry.get("ETag", "")).strip('"'))
            for name, entry in found.items()
        }

    def remove(self, name: str) -> None:
        """Removes an object, or a folder with all that is below it; nothing where there is none.

        Raises:
            StoreUnreachable: As the name says.
        """
        try:
            with self._named(name):
                path = self._path(name)
                if not self._is_local and has_magic(path):
                    # fsspec's rm takes such a path for a pattern, and removes from other stores what it matches.
                    for found in self._system.find(path):
                        self._system.rm_file(found)
                else:
                    self._system.rm(path, recursive=True)
        except ObjectMissing:
            return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _local_path(self, name: str) -> Path:
        path = Path(self._path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Names what was asked for in whatever error the file system's library raises."""
        url = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except (BundleError, ObjectExists):
            raise
        except FileNotFoundError as error:
            if _lacks_bucket(error):
                raise StoreUnreachable(url, error) from error
            raise ObjectMissing(f"{url}: no such object") from error
        # Every file system's library has errors of its own: of its transport, its credentials, its answers.
        except Exception as error:
            raise StoreUnreachable(url, error) from error


def _patience(url: str) -> dict[str, Any]:
    """Options that bound for how long S3's library tries, unless somebody decided about it.

    s3fs tries five times, and the library below it five times each: minutes, before a network that is gone is told of.
    """
    from fsspec.config import conf  # noqa: PLC0415 - part of an extra

    stated = "AWS_MAX_ATTEMPTS" in os.environ or "config_kwargs" in conf.get("s3", {})
    if stated or url.partition("://")[0] not in ("s3", "s3a"):
        return {}
    return {"config_kwargs": {"retries": {"total_max_attempts": 2}}}


def _lacks_bucket(error: FileNotFoundError) -> bool:
    """Whether S3 says that there is no such bucket, which no later publishing will make."""
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code == "NoSuchBucket"
