"""What takes long to make, made once for all the processes that run tests side by side."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Makes something in a folder that nobody may change.

    Args:
        tmp_path_factory: pytest's.
        name: Of the folder, one for each thing.
        make: Makes it in a folder that does not exist yet; one that fails is tried again by the next who wants it.

    Returns:
        The folder.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    with (root / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = root / f".{name}.done"
        if not done.exists():
            make(folder)
            done.touch()
    return folder
