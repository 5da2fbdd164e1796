"""The local copies of a remote store: laid out as a local store, each generation whole before it can be seen."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePosixPath

from twostage.bundle.checksums import verify_file
from twostage.bundle.download import CHUNK_BYTES, WantedFile, download
from twostage.bundle.durability import replace_file, sync_path
from twostage.bundle.errors import BundleCorrupt, CacheForeign, StoreUnwritable
from twostage.bundle.locks import locked
from twostage.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest
from twostage.bundle.remote_folder import RemoteFolder
from twostage.bundle.transfer import PARALLEL_COUNT, Meter, Watch, for_each

_MARK_NAME = ".copy-of"
_FETCHING = ".fetching-"
"""Begins names of folders that become a model's version, or histories, when they are whole.

TensorFlow Serving takes every child of a model's folder whose name is a number for a version, and no other.
"""


class Cache:
    """Copies of one remote store.

    Args:
        path: The folder.
        remote: The store.
        parallel_count: How many files are downloaded or summed at once.
        chunk_bytes: How much one request asks for.

    Raises:
        CacheForeign: The folder holds copies of another store.
    """

    def __init__(
        self,
        path: Path,
        remote: RemoteFolder,
        *,
        parallel_count: int = PARALLEL_COUNT,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.path = path
        self._remote = remote
        self._parallel_count = parallel_count
        self._chunk_bytes = chunk_bytes
        self._is_marked()

    def prepare(self) -> None:
        """Makes the folder, and marks it as this store's.

        Raises:
            CacheForeign: It is a store of its own, or holds copies of another one.
            StoreUnwritable: It cannot be made.
        """
        if self._is_marked():
            return
        if (self.path / "CURRENT").exists() or any(self.path.glob("generations/[0-9]*")):
            raise CacheForeign(f"{self.path}: expected a folder for copies of {self._remote.url}, found a store")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / _MARK_NAME, f"{self._remote.url}\n".encode())
        except OSError as error:
            raise StoreUnwritable(self.path, error) from error

    def locked(self, generation: int) -> AbstractContextManager[None]:
        """Lets one process or thread at a time change a generation's copy."""
        return locked(self.path / ".locks" / str(generation), needed=False)

    def manifest_content(self, generation: int) -> bytes | None:
        """The manifest of a generation that was fetched, None of one that was not."""
        try:
            return (self._folder(generation) / MANIFEST_NAME).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def fetch(
        self,
        manifest: Manifest,
        content: bytes,
        prefixes: Sequence[str],
        *,
        models: bool,
        watch: Watch | None,
    ) -> None:
        """Makes files of a generation present with the sums that its manifest states.

        Files are downloaded where they belong, a model's into a folder aside that becomes the version when it is
        whole. At a first fetch the manifest comes last, without which no folder is a generation.

        Args:
            manifest: The generation's manifest.
            content: Its bytes.
            prefixes: Only files whose path in the generation starts with one of these.
            models: Whether its SavedModels are wanted too.
            watch: Told of bytes done and of bytes in all.

        Raises:
            BundleError: As Store.fetch says.
        """
        generation = manifest.generation
        check_names(manifest, f"{self._remote.url}/generations/{generation}/{MANIFEST_NAME}")
        self.prepare()
        folder = self._folder(generation)
        with self.locked(generation):
            known = self.manifest_content(generation)
            if known not in (None, content):
                raise CacheForeign(
                    f"{folder}: expected a copy of generation {generation} of {self._remote.url}, found another one; "
                    "remove the cache when the store was made anew"
                )
            wanted = [
                WantedFile(f"generations/{generation}/{name}", folder / name, entry)
                for name, entry in manifest.files.items()
                if name.startswith(tuple(prefixes))
            ]
            versions = _by_version(manifest.model_files) if models else {}
            for version, files in versions.items():
                target = self._place_of_version(version)
                wanted += [WantedFile(f"{version}/{name}", target / name, entry) for name, entry in files.items()]
            self.provide(wanted, watch)
            for version, files in versions.items():
                self._show(self._place_of_version(version), self.path / version, files)
            if known is None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    replace_file(folder / MANIFEST_NAME, content)
                except OSError as error:
                    raise StoreUnwritable(folder / MANIFEST_NAME, error) from error

    def fetch_folder(self, name: str, files: Mapping[str, FileEntry]) -> None:
        """Makes a folder of the store present as a whole, unless it is.

        Raises:
            BundleError: As Store.fetch says.
        """
        self.prepare()
        target = self.path / name
        if target.is_dir():
            return
        aside = self._place_of_version(name)
        self.provide([WantedFile(f"{name}/{file}", aside / file, entry) for file, entry in files.items()], None)
        self._show(aside, target, files)

    def provide(self, wanted: Sequence[WantedFile], watch: Watch | None) -> None:
        """Makes files present; those that are there with the right sum are not downloaded."""
        meter = Meter(sum(file.expected.byte_count for file in wanted), watch)
        for_each(wanted, partial(self._provide, meter=meter), meter, self._parallel_count)

    def drop_aside(self, generation: int) -> None:
        """Removes what an unfinished fetch left of a generation's models."""
        for aside in self.path.glob(f"models/*/{_FETCHING}{generation}"):
            shutil.rmtree(aside, ignore_errors=True)

    def _provide(self, wanted: WantedFile, meter: Meter) -> None:
        meter.add(0)
        if wanted.path.exists():
            try:
                verify_file(wanted.path, wanted.expected)
            except BundleCorrupt:
                # A damaged copy is replaced; what has it mapped keeps the old one.
                pass
            else:
                meter.add(wanted.expected.byte_count)
                return
        download(self._remote, wanted, meter, chunk_bytes=self._chunk_bytes)

    def _folder(self, generation: int) -> Path:
        return self.path / "generations" / str(generation)

    def _place_of_version(self, version: str) -> Path:
        """Where a folder's files go: in place when it can be seen already, or aside."""
        target = self.path / version
        return target if target.is_dir() else target.with_name(f"{_FETCHING}{target.name}")

    def _show(self, aside: Path, target: Path, files: Mapping[str, FileEntry]) -> None:
        """Lets a folder be seen, at once, with nothing in it but its files."""
        if aside == target:
            return
        try:
            for path in aside.rglob("*"):
                if path.is_file() and path.relative_to(aside).as_posix() not in files:
                    path.unlink()
            aside.rename(target)
            sync_path(target.parent)
        except OSError as error:
            raise StoreUnwritable(target, error) from error

    def _is_marked(self) -> bool:
        try:
            marked = (self.path / _MARK_NAME).read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, UnicodeDecodeError) as error:
            raise CacheForeign(f"{self.path / _MARK_NAME}: expected the URL of a store, found {error}") from error
        if marked != self._remote.url:
            raise CacheForeign(f"{self.path}: expected copies of {self._remote.url}, found those of {marked}")
        return True


def check_names(manifest: Manifest, path: str) -> None:
    """Refuses a manifest whose files would leave their generation's folders; ``path`` names it in errors.

    Raises:
        BundleCorrupt: A name is absolute, goes up, cannot be a file's, or is not in a version's folder.
    """
    version = str(manifest.generation)
    for name in [*manifest.files, *manifest.model_files]:
        if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
            raise BundleCorrupt(path, "files inside their generation's folder", repr(name[:80]))
    for name in manifest.model_files:
        parts = PurePosixPath(name).parts
        if len(parts) < 4 or parts[0] != "models" or parts[2] != version:
            raise BundleCorrupt(path, f"models' files as models/<model>/{version}/<file>", repr(name[:80]))


def _by_version(files: Mapping[str, FileEntry]) -> dict[str, dict[str, FileEntry]]:
    """Models' files by their version's folder, ``models/<model>/<generation>``, with names relative to it."""
    versions: dict[str, dict[str, FileEntry]] = {}
    for name, entry in files.items():
        root, model, version, file = name.split("/", 3)
        versions.setdefault(f"{root}/{model}/{version}", {})[file] = entry
    return versions
