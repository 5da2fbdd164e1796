"""A folder of generations and models with a pointer to the current one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from twostage.bundle.checksums import verify_files
from twostage.bundle.errors import BundleCorrupt, GenerationMissing, StoreMissing
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import MANIFEST_NAME


class Store:
    """A store on a local file system.

    Args:
        path: The store's folder. It need not exist until something is written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def generations_path(self) -> Path:
        """Where generations are."""
        return self.path / "generations"

    @property
    def models_path(self) -> Path:
        """Where SavedModels are, ``<model>/<generation>/``."""
        return self.path / "models"

    def generations(self) -> list[int]:
        """The published generations, ascending."""
        return _numbered(self.generations_path, needs=MANIFEST_NAME)

    def current(self) -> int:
        """The current generation.

        Raises:
            StoreMissing: There is no store, or nothing was published.
            BundleCorrupt: CURRENT is not a number, or the generation has no manifest.
            GenerationMissing: CURRENT names a generation that is not there.
        """
        pointer = self.path / "CURRENT"
        if not self.path.is_dir():
            raise StoreMissing(f"{self.path}: no such store; `twostage train --store {self.path}` makes one")
        try:
            text = pointer.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise StoreMissing(f"{self.path}: the store is empty, nothing was published to it yet") from None
        except UnicodeDecodeError:
            text = "bytes that are no ASCII"
        except OSError as error:
            raise BundleCorrupt(pointer, "a file with a generation's number", str(error)) from error
        if not text.isdecimal():
            raise BundleCorrupt(pointer, "a generation's number", repr(text[:40]))
        number = int(text)
        folder = self.generations_path / str(number)
        if not folder.is_dir():
            raise GenerationMissing(number, self.generations())
        if not (folder / MANIFEST_NAME).is_file():
            raise BundleCorrupt(folder / MANIFEST_NAME, "a manifest", "no file (half-written?)")
        return number

    def set_current(self, generation: int) -> None:
        """Moves the pointer, atomically.

        Raises:
            GenerationMissing: There is no such generation.
        """
        if generation not in self.generations():
            raise GenerationMissing(generation, self.generations())
        aside = self.path / f".CURRENT-{os.getpid()}"
        with aside.open("w", encoding="ascii") as file:
            file.write(f"{generation}\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path / "CURRENT")

    def open(self, generation: int | None = None, *, verify: Sequence[str] = ()) -> Generation:
        """Opens a generation, the current one when None.

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

    def verify(self, generation: int) -> int:
        """Compares every file of a generation, its models too, with its sum.

        Returns:
            How many files were compared.

        Raises:
            BundleError: As in twostage.bundle.errors.
        """
        opened = self.open(generation, verify=("",))
        return len(opened.manifest.files) + verify_files(self.path, opened.manifest.model_files)

    def remove(self, generation: int) -> None:
        """Removes a generation and its models.

        Raises:
            GenerationMissing: There is no such generation.
            ValueError: It is the current one.
        """
        if generation not in self.generations():
            raise GenerationMissing(generation, self.generations())
        if generation == self.current():
            raise ValueError(f"generation {generation} is the current one")
        shutil.rmtree(self.generations_path / str(generation))
        for model in self.models_path.iterdir():
            shutil.rmtree(model / str(generation), ignore_errors=True)


def _numbered(folder: Path, needs: str | None = None) -> list[int]:
    if not folder.is_dir():
        return []
    children = (child for child in folder.iterdir() if child.name.isdecimal() and child.is_dir())
    return sorted(int(child.name) for child in children if needs is None or (child / needs).is_file())
