"""Small stores whose index is in shards, built by the real builder; nothing in them is trained."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import golden_answers, write_golden
from retrieval_service.engine.index.builder import IndexAim, build_index, write_index
from tests.bundles import RANKER, TOWER, make_store
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter

_WRITTEN_ANEW = {"generation", "files", "model_files", "checksum"}


def make_sharded_store(
    path: Path,
    *,
    family: str = "exact",
    shard_count: int = 3,
    item_count: int = 200,
    with_models: bool = False,
    source_shares: Mapping[str, float] | None = None,
) -> Store:
    """Publishes what :func:`tests.bundles.make_store` makes, with all sources, but with an index in shards.

    Args:
        path: The new store's folder.
        family: The index, by its name in :func:`retrieval_service.engine.index.families.index_specs`.
        shard_count: How many shards there are.
        item_count: N, 64 or more for each shard.
        with_models: True adds the ranker's SavedModel.
        source_shares: The tower's shares of sources by name; none when None.
    """
    store = Store(path)
    with tempfile.TemporaryDirectory() as folder, GenerationWriter(store) as writer:
        whole = make_store(
            Path(folder),
            item_count=item_count,
            with_sources=True,
            with_models=with_models,
            source_shares=source_shares,
        )
        source = whole.open()
        manifest = source.manifest
        shutil.copytree(
            source.path, writer.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json", "index*.faiss")
        )
        if with_models:
            shutil.copytree(whole.models_path / RANKER / str(source.number), writer.model_path(RANKER))
        vectors = np.load(writer.path / manifest.tower.item_vectors)
        aim = IndexAim(
            at=100,
            families=(family,),
            shard_count=shard_count,
            exact_limit=item_count if family == "exact" else 0,
        )
        built = build_index(vectors, _between_items(vectors), aim, folder=f"retrieval/{TOWER}")
        write_index(built, writer.path)
        tower = manifest.tower.model_copy(update={"index": built.entry})
        engine = RetrievalEngine.open_folder(
            writer.path, tower, attributes=manifest.attributes, item_count=item_count, orders=manifest.orders
        )
        write_golden(writer.path, golden_answers(engine, [[], [0], [3, 14, 15]], count=20))
        fields = manifest.model_dump(exclude=_WRITTEN_ANEW)
        writer.publish({**fields, "towers": {TOWER: tower}})
    return store


def _between_items(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[100, D], means of a few items, L2-normalised, as the vectors of people are."""
    generator = np.random.default_rng(3)
    means = vectors[generator.integers(0, len(vectors), (100, 4))].mean(axis=1)
    normalised: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return normalised
