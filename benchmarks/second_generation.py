"""A generation once more under the next number, so that a swap can be looked at answer by answer."""

from __future__ import annotations

import shutil
from pathlib import Path

from twostage.bundle.histories import histories_folder
from twostage.bundle.manifest import Manifest
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter


def publish_again(store: Store, number: int) -> Manifest:
    """Publishes a generation once more, by copies of its files; CURRENT stays.

    Each answer can then be compared with the one that was given before. The servers cannot know, and do all that a
    swap takes.

    Args:
        store: The store.
        number: The generation.

    Returns:
        The new generation's manifest.
    """
    generation = store.open(number)
    manifest = generation.manifest
    with GenerationWriter(store) as writer:
        shutil.copytree(generation.path, writer.path, dirs_exist_ok=True)
        (writer.path / "manifest.json").unlink()
        for model in sorted({Path(file).parts[1] for file in manifest.model_files}):
            shutil.copytree(store.models_path / model / str(number), writer.model_path(model))
        fields = manifest.model_dump(exclude={"generation", "files", "model_files", "checksum"})
        published = writer.publish(fields, make_current=False)
    shutil.copytree(histories_folder(store, number), histories_folder(store, published.generation))
    return published
