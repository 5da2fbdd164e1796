"""Files that survive a crash whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_path(path: Path) -> None:
    """Makes a file's content, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Makes all files below a folder durable before they become visible, so that a crash cannot publish empty ones."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_path(path)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file that readers see with its old content or with all of the new.

    Raises:
        OSError: It cannot be written; the old content stays.
    """
    with _aside(path) as aside:
        aside.write_bytes(content)


def replace_by_copy(path: Path, source: Path) -> None:
    """Copies a file to where readers see the old one or the whole new one.

    Raises:
        OSError: It cannot be read or written; the old content stays.
    """
    with _aside(path) as aside:
        shutil.copyfile(source, aside)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
    try:
        yield aside
        sync_path(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_path(path.parent)
