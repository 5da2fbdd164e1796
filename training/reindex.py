"""A generation with another index: everything else is the same, down to the files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import GOLDEN_FILE, renew_golden
from retrieval_service.engine.index.builder import BuiltIndex, write_index
from training.index_plot import plot_frontier
from twostage.bundle.arrays import write_array
from twostage.bundle.generation import Generation
from twostage.bundle.histories import histories_folder
from twostage.bundle.manifest import MANIFEST_NAME, Manifest, write_manifest
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter

FRONTIER_PLOT = "frontier.png"
"""The plot's name, beside the index."""

TUNING_QUERIES = "tuning_queries.npy"
"""The user vectors' name, beside the index."""


def publish_index(
    store: Store, generation: Generation, built: BuiltIndex, queries: NDArray[np.float32], *, make_current: bool = True
) -> Manifest:
    """Publishes the next generation: the given one with another index.

    Files that stay are linked, not copied, where the file system can; a generation is never changed, so both may hold
    them. Golden answers of retrieval are asked anew, for another index may find other candidates.

    Args:
        store: The store of the generation.
        generation: What is published again.
        built: The index, its files named below the tower's folder.
        queries: float32[Q, D], what it was measured with.
        make_current: False leaves CURRENT where it is.

    Raises:
        StoreBusy: Another process publishes the same generation.
    """
    manifest = generation.manifest
    old = manifest.tower
    folder = Path(old.item_vectors).parent
    plot = f"{folder}/{FRONTIER_PLOT}"
    left_out = {
        *old.index.shard_files,
        old.index.row_lists,
        old.index.queries,
        plot,
        GOLDEN_FILE,
    }
    with GenerationWriter(store) as writer:
        for file in manifest.files:
            if file not in left_out:
                _link(generation.path / file, writer.path / file)
        for file in manifest.model_files:
            # models/<model>/<generation>/…
            _, model, _, *rest = Path(file).parts
            _link(store.path / file, writer.model_path(model).joinpath(*rest))
        write_index(built, writer.path)
        write_array(writer.path / folder / TUNING_QUERIES, queries)
        plot_frontier(built.entry, writer.path / plot)
        index = built.entry.model_copy(update={"queries": f"{folder}/{TUNING_QUERIES}"})
        tower = old.model_copy(update={"index": index})
        fields = manifest.model_dump(exclude={"generation", "files", "model_files", "checksum"})
        fields["towers"] = {**manifest.towers, manifest.default_tower: tower}
        write_manifest(writer.path, Manifest(**fields, generation=writer.generation))
        renew_golden(RetrievalEngine.open(Generation(writer.path)), generation, writer.path)
        # Publishing writes the manifest anew, with sums.
        (writer.path / MANIFEST_NAME).unlink()
        published = writer.publish(fields, make_current=False)
    people = histories_folder(store, generation.number)
    if people.is_dir():
        shutil.copytree(people, histories_folder(store, published.generation), copy_function=_link)
    if make_current:
        store.set_current(published.generation)
    return published


def _link(source: Path | str, target: Path | str) -> None:
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
