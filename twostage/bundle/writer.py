"""Writing a generation: aside, summed, renamed; CURRENT last."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import write_array
from twostage.bundle.attributes import Attributes
from twostage.bundle.checksums import sum_folder
from twostage.bundle.durability import sync_path, sync_tree
from twostage.bundle.errors import StoreBusy, StoreUnwritable
from twostage.bundle.id_table import IdTable
from twostage.bundle.locks import locked
from twostage.bundle.manifest import Manifest, write_manifest
from twostage.bundle.store import Store
from twostage.bundle.strings import StringColumn
from twostage.bundle.transfer import Watch

_PREFIX = ".writing-"


class GenerationWriter:
    """Writes the next generation of a store; used in a ``with`` block that ends in :meth:`publish`.

    Until then everything lies in a folder aside that no reader looks at. A block left without publishing, by an
    error or Ctrl-C, removes it; what a killed process leaves is removed by the next writer. A number that a writer
    got is not given again, whatever becomes of it. For a remote store all this happens in its cache, and publishing
    ends with sending it.

    Args:
        store: The store, made when it does not exist.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.generation = 0
        self._aside = Path()
        self._lock: int | None = None
        self._moved = False

    def __enter__(self) -> Self:
        """Reserves the next number.

        Raises:
            StoreUnwritable: The file system is full, read-only or not ours to write to.
            StoreUnreachable: A remote store does not answer.
        """
        folder = self.store.generations_path
        # Reserving and tidying exclude each other, or one writer could take another's new folder for an abandoned one.
        with locked(folder / ".reserving"):
            self._remove_abandoned()
            self.generation = self.store.claim(self._highest() + 1)
            self._aside = folder / f"{_PREFIX}{self.generation}"
            try:
                self._aside.mkdir()
                lock = os.open(self._aside / ".lock", os.O_CREAT | os.O_RDWR)
            except OSError as error:
                raise StoreUnwritable(self._aside, error) from error
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._lock = lock
        self.path.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes what was not published."""
        shutil.rmtree(self._aside, ignore_errors=True)
        if not self._moved:
            self.store.release(self.generation)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def path(self) -> Path:
        """Where the generation's files are written to."""
        return self._aside / "bundle"

    def model_path(self, model: str) -> Path:
        """Where the SavedModel of ``model`` is written to; its parent exists, it does not."""
        path = self._aside / "models" / model / str(self.generation)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_items(
        self,
        *,
        item_ids: Sequence[str],
        titles: Sequence[str],
        popularity: NDArray[np.floating | np.integer],
        attributes: Mapping[str, Sequence[Sequence[str]] | NDArray[np.float64]],
    ) -> dict[str, str]:
        """Writes ``items/``.

        Args:
            item_ids: N distinct ids, by row.
            titles: N titles, empty when unknown.
            popularity: float[N], taste interactions in training.
            attributes: Name to float64[N] or to N sequences of strings.

        Returns:
            The attributes' kinds, for the manifest.
        """
        items = self.path / "items"
        IdTable.write(items / "ids", item_ids)
        StringColumn.write(items / "titles", titles)
        write_popularity(items, popularity)
        return Attributes.write(items / "attributes", attributes)

    def publish(self, fields: Mapping[str, Any], *, make_current: bool = True, watch: Watch | None = None) -> Manifest:
        """Sums all files, writes the manifest, moves everything into place and then moves CURRENT.

        Args:
            fields: The manifest's fields, without generation, files, model_files and checksum.
            make_current: False leaves CURRENT where it is.
            watch: Told of bytes sent to a remote store and of bytes in all.

        Raises:
            pydantic.ValidationError: A field is missing or wrong.
            StoreBusy: A generation of this number appeared meanwhile.
            StoreUnreachable: A remote store does not answer. The generation is whole in the cache; sending it again
                goes on where this stopped.
            StoreUnwritable: The file system is full, read-only or not ours to write to.
        """
        models = self._aside / "models"
        model_files = sum_folder(models) if models.is_dir() else {}
        manifest = Manifest(
            **fields,
            generation=self.generation,
            files=sum_folder(self.path),
            model_files={f"models/{path}": entry for path, entry in model_files.items()},
        )
        try:
            manifest = write_manifest(self.path, manifest)
            sync_tree(self._aside)
            if models.is_dir():
                for model in sorted(models.iterdir()):
                    target = self.store.models_path / model.name / str(self.generation)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _move(model / str(self.generation), target)
            _move(self.path, self.store.generations_path / str(self.generation))
        except OSError as error:
            raise StoreUnwritable(self.path, error) from error
        self._moved = True
        self.store.send(self.generation, watch=watch)
        if make_current:
            self.store.set_current(self.generation)
        return manifest

    def _highest(self) -> int:
        """The highest number that a generation, a model or a writer has."""
        folders = [self.store.generations_path]
        if self.store.models_path.is_dir():
            folders += [model for model in self.store.models_path.iterdir() if model.is_dir()]
        names = (child.name.removeprefix(_PREFIX) for folder in folders for child in folder.iterdir())
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def _remove_abandoned(self) -> None:
        """Removes folders of writers that died; a living one holds its lock."""
        for folder in self.store.generations_path.glob(f"{_PREFIX}*"):
            try:
                lock = os.open(folder / ".lock", os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def write_popularity(items: Path, popularity: NDArray[np.floating | np.integer]) -> None:
    """Writes ``popularity.npy`` and ``popular_rows.npy``: all rows, the most popular first, ties by row.

    Args:
        items: The folder ``items/`` of a generation.
        popularity: float[N] or int[N], taste interactions in training.
    """
    write_array(items / "popularity.npy", popularity.astype(np.float32))
    # A stable sort of the negated counts keeps ties in row order.
    write_array(items / "popular_rows.npy", np.argsort(-popularity, kind="stable").astype(np.uint32))


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise StoreBusy(f"{target}: expected no such folder, another process made it meanwhile")
    source.rename(target)
    sync_path(target.parent)
