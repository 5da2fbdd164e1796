"""Which versions a model server holds: a text ModelServerConfig that names them, shared by those who need them."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from twostage.bundle.durability import replace_file
from twostage.bundle.errors import BundleCorrupt, BundleError
from twostage.bundle.locks import locked
from twostage.bundle.store import Store


def model_config_text(store: Store, generations: Iterable[int]) -> str:
    """A text ModelServerConfig with the rankers' models at named versions, never the latest.

    A version whose folder is not there is left out, and so is a model without any: the real server waits for ever for
    a model that has nothing to load.

    Args:
        store: Where manifests and models are; their paths become absolute.
        generations: Which are to be held.

    Raises:
        BundleError: A manifest cannot be read.
    """
    return _text(store, {number: rankers_models(store, number) for number in generations})


def rankers_models(store: Store, generation: int) -> tuple[str, ...]:
    """The names of the models that a generation's rankers ask, in order, each once.

    Raises:
        BundleError: The manifest cannot be read.
    """
    rankers = store.manifest(generation).rankers.values()
    return tuple(sorted({ranker.model for ranker in rankers}))


class ModelConfigFile:
    """The config file of one model server, which names what the processes that use the server need.

    Each of them states its needs in a file of its own beside it, locked while it lives. Whoever writes the config
    names what all the living need, so that several may share a model server and none takes a version from another;
    what a dead one needed is forgotten at the next writing. The file is replaced as a whole, never written into. Used
    by one thread at a time.

    Args:
        path: The file; its folder must exist and be writable.
        store: Where manifests and models are.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self._store = store
        self._models: dict[int, tuple[str, ...]] = {}
        self._needed: frozenset[int] = frozenset()
        self._own: int | None = None
        self._own_path = Path()

    @property
    def needed(self) -> frozenset[int]:
        """The generations that this process needs."""
        return self._needed

    def need(self, generations: Iterable[int], *, if_there: Iterable[int] = ()) -> None:
        """States what this process needs from now on, and writes the config.

        Args:
            generations: The generations whose models it asks.
            if_there: More of them, which are left out when they cannot be had.

        Raises:
            BundleError: A manifest cannot be read, or a model is not in the store; nothing changes then.
            OSError, StoreUnwritable: The file cannot be written.
        """
        needed = frozenset(generations)
        for number in sorted(needed - self._needed):
            self._require_models(number)
        self._needed = needed | {number for number in if_there if self._is_there(number)}
        self.keep()

    def keep(self) -> None:
        """Writes the config where it is not what the living need, e.g. because another wrote over it.

        Raises:
            OSError, StoreUnwritable: The file cannot be written.
        """
        with locked(self.path.with_name(f"{self.path.name}.lock")):
            self._state_needs()
            wanted = self._needed.union(*self._needs_of_others())
            text = _text(self._store, {number: self._models_of(number) for number in sorted(wanted)})
            if not self.path.is_file() or self.path.read_text(encoding="utf-8") != text:
                replace_file(self.path, text.encode())

    def close(self) -> None:
        """Takes back what this process needs; the config stays as it is until another writes it."""
        if self._own is not None:
            self._own_path.unlink(missing_ok=True)
            os.close(self._own)
            self._own = None

    def _require_models(self, number: int) -> None:
        self._models[number] = rankers_models(self._store, number)
        for model in self._models[number]:
            folder = self._store.models_path / model / str(number)
            if not folder.is_dir():
                raise BundleCorrupt(folder, "a SavedModel", "no folder")

    def _is_there(self, number: int) -> bool:
        try:
            self._require_models(number)
        except BundleError:
            return False
        return True

    def _models_of(self, number: int) -> tuple[str, ...]:
        """The models of a generation, none where its manifest cannot be read; others may see more than we do."""
        if number not in self._models:
            try:
                self._models[number] = rankers_models(self._store, number)
            except BundleError:
                return ()
        return self._models[number]

    def _state_needs(self) -> None:
        if self._own is None:
            # Made and locked while the config is locked, or another could take it for a dead one's.
            self._own, name = tempfile.mkstemp(prefix=f"{self.path.name}.needs-", dir=self.path.parent)
            self._own_path = Path(name)
            fcntl.flock(self._own, fcntl.LOCK_EX)
        content = json.dumps(sorted(self._needed)).encode()
        os.ftruncate(self._own, 0)
        os.pwrite(self._own, content, 0)

    def _needs_of_others(self) -> Iterator[set[int]]:
        for path in self.path.parent.glob(f"{self.path.name}.needs-*"):
            if path == self._own_path:
                continue
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield set(json.loads(os.pread(descriptor, 65536, 0)))
            else:
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _text(store: Store, models_by_generation: dict[int, tuple[str, ...]]) -> str:
    versions: dict[str, list[int]] = {}
    for number, models in sorted(models_by_generation.items()):
        for model in models:
            if (store.models_path / model / str(number)).is_dir():
                versions.setdefault(model, []).append(number)
    entries = [
        f"  config {{\n    name: {_quoted(model)}\n"
        f"    base_path: {_quoted(str((store.models_path / model).resolve()))}\n"
        f'    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ {' '.join(f'versions: {number}' for number in numbers)} }} }}\n  }}\n"
        for model, numbers in sorted(versions.items())
    ]
    return f"model_config_list {{\n{''.join(entries)}}}\n"


def _quoted(text: str) -> str:
    """A string of a text proto, whose escapes JSON's are a part of."""
    return json.dumps(text, ensure_ascii=False)
