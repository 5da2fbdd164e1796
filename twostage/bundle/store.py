"""A folder of generations and models with a pointer to the current one."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from twostage.bundle.checksums import verify_files
from twostage.bundle.durability import replace_file
from twostage.bundle.errors import BundleCorrupt, BundleError, GenerationMissing, StoreMissing, StoreUnwritable
from twostage.bundle.generation import Generation
from twostage.bundle.location import check_path
from twostage.bundle.manifest import MANIFEST_NAME, Manifest, read_manifest
from twostage.bundle.transfer import Meter, Watch

POINTER_NAME = "CURRENT"


class Store:
    """A store on a local file system; twostage.bundle.open_store opens one anywhere.

    Everything that is read is read without a write, so a store on a read-only file system serves.

    Args:
        path: The store's folder. It need not exist until something is written.

    Raises:
        LocationUnsupported: It is a URL.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = check_path(path)

    @property
    def location(self) -> str:
        """How people name this store: its folder, or its URL."""
        return str(self.path)

    @property
    def generations_path(self) -> Path:
        """Where generations are."""
        return self.path / "generations"

    @property
    def models_path(self) -> Path:
        """Where SavedModels are, ``<model>/<generation>/``."""
        return self.path / "models"

    @property
    def claims_path(self) -> Path:
        """Where an empty or one-line file by a generation's number says that the number was given."""
        return self.path / "claims"

    def generations(self) -> list[int]:
        """The published generations, ascending.

        Raises:
            StoreUnreachable: A remote store does not answer.
        """
        return _numbered(self.generations_path, needs=MANIFEST_NAME)

    def pointer(self) -> int:
        """The number in CURRENT, whether or not that generation is there.

        Raises:
            StoreMissing: There is no store, or nothing was published.
            BundleCorrupt: CURRENT is not a number.
            StoreUnreachable: A remote store does not answer.
        """
        pointer = self.path / POINTER_NAME
        if not self.path.is_dir():
            raise StoreMissing(f"{self.path}: no such store; `twostage train --store {self.path}` makes one")
        try:
            content = pointer.read_bytes()
        except FileNotFoundError:
            raise StoreMissing(f"{self.path}: the store is empty, nothing was published to it yet") from None
        except OSError as error:
            raise BundleCorrupt(pointer, "a file with a generation's number", str(error)) from error
        return parse_pointer(content, pointer)

    def current(self) -> int:
        """The current generation.

        Raises:
            StoreMissing: There is no store, or nothing was published.
            BundleCorrupt: CURRENT is not a number, or the generation has no manifest.
            GenerationMissing: CURRENT names a generation that is not there.
            StoreUnreachable: A remote store does not answer.
        """
        number = self.pointer()
        while (problem := self._absence(number)) is not None:
            # Between the two looks CURRENT may have moved and its former generation may have gone.
            moved = self.pointer()
            if moved == number:
                raise problem
            number = moved
        return number

    def previous(self, number: int) -> int | None:
        """The newest published generation below ``number``, None when there is none."""
        return max((other for other in self.generations() if other < number), default=None)

    def set_current(self, generation: int) -> None:
        """Moves the pointer, atomically: readers see the old number or the new one.

        Raises:
            GenerationMissing: There is no such generation.
            StoreUnwritable: The file system is full, read-only or not ours to write to.
            StoreUnreachable: A remote store does not answer.
        """
        present = self.generations()
        if generation not in present:
            raise GenerationMissing(generation, present)
        pointer = self.path / POINTER_NAME
        try:
            replace_file(pointer, format_pointer(generation))
        except OSError as error:
            raise StoreUnwritable(pointer, error) from error

    def manifest(self, generation: int) -> Manifest:
        """A generation's manifest, checked; of a remote store without its files.

        Raises:
            GenerationMissing: There is no such generation.
            BundleError: As in twostage.bundle.errors.
        """
        folder = self.generations_path / str(generation)
        if not folder.is_dir():
            raise GenerationMissing(generation, self.generations())
        return read_manifest(folder)

    def fetch(
        self,
        generation: int,
        prefixes: Sequence[str] = ("",),
        *,
        models: bool = True,
        watch: Watch | None = None,
    ) -> None:
        """Makes a generation's files present below ``path``, and verified; here they are, so nothing is done.

        Args:
            generation: Which.
            prefixes: Only files whose path in the generation starts with one of these; models are apart.
            models: Whether its SavedModels are wanted too.
            watch: Told of bytes done and of bytes in all.

        Raises:
            GenerationMissing: There is no such generation.
            BundleCorrupt: A remote file is not what the manifest says.
            StoreUnreachable: A remote store does not answer; a later call goes on where this one stopped.
            StoreUnwritable: The cache's disk is full, read-only or not ours to write to.
            CacheForeign: The cache holds another store's generation of that number.
        """
        del prefixes, models, watch
        if not (self.generations_path / str(generation) / MANIFEST_NAME).is_file():
            raise GenerationMissing(generation, self.generations())

    def open(self, generation: int | None = None, *, verify: Sequence[str] = ()) -> Generation:
        """Opens a generation, the current one when None.

        Of a remote store this fetches what ``verify`` names and nothing else: ``fetch`` what is read besides.

        Args:
            generation: Which.
            verify: As for Generation.

        Raises:
            BundleError: As in twostage.bundle.errors.
        """
        number = self.current() if generation is None else generation
        path = self.generations_path / str(number)
        if not path.is_dir():
            raise GenerationMissing(number, self.generations())
        return Generation(path, verify=verify)

    def verify(self, generation: int, *, watch: Watch | None = None) -> int:
        """Compares every file of a generation, its models too, with its sum.

        Of a remote store this downloads what the cache lacks, or holds damaged.

        Args:
            generation: Which.
            watch: Told of bytes done and of bytes in all.

        Returns:
            How many files were compared.

        Raises:
            BundleError: As in twostage.bundle.errors.
        """
        manifest = self.open(generation).manifest
        meter = Meter(byte_count(manifest), watch)
        return verify_files(self.generations_path / str(generation), manifest.files, meter=meter) + verify_files(
            self.path, manifest.model_files, meter=meter
        )

    def remove(self, generation: int) -> None:
        """Removes a generation and its models; its number is not given again.

        Raises:
            GenerationMissing: There is no such generation.
            ValueError: It is the current one.
            StoreUnwritable: The file system is read-only or not ours to write to.
        """
        self._check_removable(generation)
        self.remember(generation)
        self._discard(generation)

    def remember(self, generation: int) -> None:
        """Says in the store that a number was given, so that it is not given again.

        Raises:
            StoreUnwritable: The file system is full, read-only or not ours to write to.
        """
        claim = self.claims_path / str(generation)
        try:
            self.claims_path.mkdir(parents=True, exist_ok=True)
            claim.touch()
        except OSError as error:
            raise StoreUnwritable(claim, error) from error

    def claim(self, least: int) -> int:
        """Reserves the next number that was never given; one process at a time calls this.

        Args:
            least: The lowest number that may be given.

        Raises:
            StoreUnwritable: The file system is full, read-only or not ours to write to.
            StoreUnreachable: A remote store does not answer.
        """
        claimed = [int(child.name) for child in _children(self.claims_path) if child.name.isdecimal()]
        number = max(least, 1 + max(claimed, default=0))
        self.remember(number)
        return number

    def release(self, generation: int) -> None:
        """Tells that nothing will be published by a reserved number, which stays given."""

    def send(self, generation: int, *, watch: Watch | None = None) -> None:
        """Publishes what a writer moved into place below ``path``; here that has published it."""

    def evict(self, generation: int) -> None:
        """Removes a generation's copy from the cache of a remote store; here are no copies."""

    def send_histories(self, generation: int) -> None:
        """Publishes the people's histories beside a generation, ``users/<generation>/``; here they are published."""

    def fetch_histories(self, generation: int) -> None:
        """Makes ``users/<generation>/`` present below ``path`` where the store has it; here it is."""

    def _absence(self, generation: int) -> BundleError | None:
        """What is wrong with a generation that CURRENT names, None when it is there."""
        folder = self.generations_path / str(generation)
        if not folder.is_dir():
            return GenerationMissing(generation, self.generations())
        if not (folder / MANIFEST_NAME).is_file():
            return BundleCorrupt(folder / MANIFEST_NAME, "a manifest", "no file (half-written?)")
        return None

    def _check_removable(self, generation: int) -> None:
        present = self.generations()
        if generation not in present:
            raise GenerationMissing(generation, present)
        if generation == self.current():
            raise ValueError(f"generation {generation} is the current one")

    def _discard(self, generation: int) -> None:
        """Removes a generation's files below ``path``: first from sight, each folder at once, then from the disk."""
        folders = [self.generations_path / str(generation)]
        folders += [model / str(generation) for model in _children(self.models_path)]
        aside = []
        for folder in folders:
            hidden = folder.with_name(f".removed-{uuid.uuid4().hex[:12]}")
            try:
                folder.rename(hidden)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise StoreUnwritable(folder, error) from error
            aside.append(hidden)
        for hidden in aside:
            shutil.rmtree(hidden, ignore_errors=True)


def format_pointer(generation: int) -> bytes:
    """What CURRENT holds."""
    return f"{generation}\n".encode("ascii")


def parse_pointer(content: bytes, path: Path | str) -> int:
    """Reads what CURRENT holds; ``path`` names it in errors.

    Raises:
        BundleCorrupt: It is not a number and the end of a line. Without the end it may be half of a longer number.
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise BundleCorrupt(path, "a generation's number", "bytes that are no ASCII") from None
    number = text.strip()
    # Python reads no number of thousands of digits.
    if not number.isdecimal() or len(number) > 40:
        raise BundleCorrupt(path, "a generation's number", repr(number[:40]))
    if not text.endswith("\n"):
        raise BundleCorrupt(path, "a generation's number and the end of a line", f"{text[:40]!r} (half-written?)")
    return int(number)


def byte_count(manifest: Manifest) -> int:
    """The size of all files of a generation, its models too."""
    return sum(entry.byte_count for entry in [*manifest.files.values(), *manifest.model_files.values()])


def _children(folder: Path) -> list[Path]:
    """What a folder holds, nothing when it is not there."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbered(folder: Path, needs: str) -> list[int]:
    children = (child for child in _children(folder) if child.name.isdecimal() and child.is_dir())
    return sorted(int(child.name) for child in children if (child / needs).is_file())
