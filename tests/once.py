"""What takes long to make, made once for all the processes that run tests side by side."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Measurements make small stores, too, without pytest.
    import pytest

_roots: list[Path] = []


def share(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tells this process where what is made once lies, for those who make it outside of fixtures."""
    _roots[:] = [_root(tmp_path_factory)]


def shared_root() -> Path | None:
    """Where what is made once lies; None outside of pytest."""
    return _roots[0] if _roots else None


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Makes something in a folder that nobody may change.

    Args:
        tmp_path_factory: pytest's.
        name: Of the folder, one for each thing.
        make: Makes it in a folder that does not exist yet; one that fails is tried again by the next who wants it.

    Returns:
        The folder.
    """
    return made_once_in(_root(tmp_path_factory), name, make)


def made_once_in(root: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The same, in a folder of :func:`shared_root`."""
    folder = root / name
    with (root / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = root / f".{name}.done"
        if not done.exists():
            make(folder)
            done.touch()
    return folder


def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
