"""What is published to remote stores, and what of it is where."""

from __future__ import annotations

from pathlib import Path

MODEL = {"saved_model.pb": b"a model", "variables/variables.index": b"i" * 3000}
FILES = {"retrieval/content/item_vectors.npy": bytes(range(256)) * 40}


def files_below(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
