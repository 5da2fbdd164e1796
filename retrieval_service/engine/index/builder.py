"""Chooses and builds the index of a generation by measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.construction import Progress, build_parts, silent, train_lists
from retrieval_service.engine.index.faiss_file import read_row_lists
from retrieval_service.engine.index.families import USUAL, IndexSpec, index_specs, list_count
from retrieval_service.engine.index.frontier import Point, choose, measure_frontier
from retrieval_service.engine.index.measurement import measure_costs, measure_filtered, measure_spread, nearest_rows
from twostage.bundle.arrays import write_array
from twostage.bundle.manifest import IndexEntry

EXACT_LIMIT = 20_000
"""Up to how many items every inner product is computed. Measured for 500 of N x 128 on one core, the inverted file at
a recall of 0.95: at 20,000 items 0.28 ms against 0.19 ms, which is not worth what it misses; at 50,000, out of the
cache, 1.1 ms against 0.25 ms."""

_LEAST_ITEMS = 63
"""Up to so few items no codec can be trained, so their index is exact whatever is wanted."""
_UNDIVIDED = ("hnsw", "rabitq4")
"""A graph's parts are other graphs; codes of several bits are pruned by what the search has found before."""

_MAX_QUERIES = 400
_MAX_QUERIES_OF_MANY = 200
_MANY = 2_000_000


@dataclass(frozen=True)
class IndexAim:
    """What an index must do.

    Args:
        recall_target: The share of the exact nearest items that must be found on average, above 0, at most 1.
        at: How many nearest items are asked for.
        bytes_per_item: What the index may hold for each item, mapped or not, beside the item vectors; None bounds
            nothing.
        families: What is tried, of :func:`index_specs`; a small catalogue's index is exact whatever they are.
        shard_count: Into how many shards the rows are split.
        exact_limit: Up to how many items the index is exact.
    """

    recall_target: float = 0.95
    at: int = 500
    bytes_per_item: float | None = None
    families: tuple[str, ...] = USUAL
    shard_count: int = 1
    exact_limit: int = EXACT_LIMIT


@dataclass(frozen=True)
class BuiltIndex:
    """An index that was chosen.

    Args:
        parts: FAISS indexes, one for each shard.
        entry: What the manifest says of it.
        row_lists: uint16 or uint32[N], each row's inverted list; None for families without.
    """

    parts: Sequence[Any]
    entry: IndexEntry
    row_lists: NDArray[np.integer] | None


def build_index(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    aim: IndexAim | None = None,
    *,
    seed: int = 0,
    folder: str = "",
    progress: Progress = silent,
) -> BuiltIndex:
    """Builds what is tried, measures it on user vectors and keeps the fastest that reaches the recall.

    Args:
        vectors: float32[N, D], L2-normalised; may be mapped.
        queries: float32[Q, D], held-out user vectors; at most 400 are used, 200 above two million items. Item vectors
            would be easier than people are.
        aim: What the index must do; the defaults of :class:`IndexAim` when None.
        seed: Seed of everything random.
        folder: Where the entry's files lie, relative to the generation, e.g. ``retrieval/content``.
        progress: Told what is being done.

    Raises:
        ValueError: There are no vectors or queries, their dimensions differ, a number is out of its range or a family
            unknown, or none fits into the memory.
    """
    aim = aim or IndexAim()
    specs = _specs(vectors, queries, aim)
    vectors = np.ascontiguousarray(vectors, np.float32)
    at = min(aim.at, len(vectors))
    most = _MAX_QUERIES if len(vectors) <= _MANY else _MAX_QUERIES_OF_MANY
    queries = np.ascontiguousarray(queries[:most], np.float32)
    progress("exact neighbours of the user vectors", 0.0)
    nearest = nearest_rows(vectors, queries, at)
    centres = None
    if any(spec.has_lists for spec in specs):
        centres = train_lists(vectors, list_count(len(vectors)), seed, progress)
    built: dict[str, Sequence[Any]] = {}
    for spec in specs:
        built[spec.factory] = build_parts(
            spec, vectors, centres, shard_count=aim.shard_count, seed=seed, progress=progress
        )
    row_lists = None
    if centres is not None:
        first = next(built[spec.factory] for spec in specs if spec.has_lists)
        row_lists = read_row_lists(first, len(vectors))
    points = measure_frontier(specs, built, vectors, row_lists, queries, nearest, progress, aim.recall_target)
    chosen = choose(points, aim.recall_target)
    parts = built[chosen.spec.factory]
    entry = _entry(chosen, points, aim, at, folder)
    if not isinstance(parts[0], faiss.IndexIVF):
        return BuiltIndex(parts, entry, None)
    assert row_lists is not None
    progress("searches under filters", 0.0)
    assert centres is not None
    entry = entry.model_copy(
        update={
            "row_lists": f"{folder}/row_lists.npy".lstrip("/"),
            "costs_ns": measure_costs(parts, entry, vectors, row_lists, queries),
            "spread": measure_spread(vectors, centres, row_lists, queries),
        }
    )
    coverage, filtered = measure_filtered(
        parts, entry, vectors, row_lists, queries, recall_target=aim.recall_target, seed=seed
    )
    return BuiltIndex(parts, entry.model_copy(update={"coverage": coverage, "filtered": filtered}), row_lists)


def write_index(built: BuiltIndex, generation: Path) -> None:
    """Writes an index to the files that its entry names, relative to a generation's folder."""
    for part, file in zip(built.parts, built.entry.shard_files, strict=True):
        path = generation / file
        path.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(part, str(path))
    if built.row_lists is not None and built.entry.row_lists is not None:
        write_array(generation / built.entry.row_lists, built.row_lists)


def _specs(vectors: NDArray[np.float32], queries: NDArray[np.float32], aim: IndexAim) -> list[IndexSpec]:
    """What is tried, after everything that can be wrong has been looked at."""
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors: expected float32[N, D] with N above 0, received shape {vectors.shape}")
    item_count, dimension = vectors.shape
    if queries.ndim != 2 or not len(queries) or queries.shape[1] != dimension:
        raise ValueError(f"queries: expected float32[Q, {dimension}] with Q above 0, received shape {queries.shape}")
    if not np.isfinite(np.asarray(queries)).all():
        raise ValueError("queries: expected finite numbers, received NaN or infinity")
    if not 0 < aim.recall_target <= 1:
        raise ValueError(f"recall_target: expected above 0, at most 1, received {aim.recall_target}")
    if aim.at < 1:
        raise ValueError(f"at: expected 1 or more, received {aim.at}")
    if not 1 <= aim.shard_count <= max(1, item_count // 64):
        raise ValueError(f"shard_count: expected 1 to {max(1, item_count // 64)}, received {aim.shard_count}")
    known = index_specs(dimension)
    unknown = [name for name in aim.families if name not in known]
    if unknown or not aim.families:
        raise ValueError(f"families: expected some of {', '.join(known)}, received {', '.join(unknown) or 'none'}")
    names = ("exact",) if item_count <= max(aim.exact_limit, _LEAST_ITEMS) else aim.families
    if dimension % 2 and "ivf_pq2" in names:
        raise ValueError(f"families: expected ivf_pq2 with an even dimension alone, received dimension {dimension}")
    specs = [known[name] for name in names]
    whole = [name for name in names if name in _UNDIVIDED]
    if aim.shard_count > 1 and whole:
        raise ValueError(
            f"shard_count: expected 1 with {', '.join(whole)}, whose shards do not find what the whole index finds, "
            f"received {aim.shard_count}"
        )
    if aim.bytes_per_item is None:
        return specs
    fitting = [spec for spec in specs if spec.code_bytes <= aim.bytes_per_item]
    if not fitting:
        least = min(specs, key=lambda spec: spec.code_bytes)
        raise ValueError(
            f"bytes_per_item: expected at least {least.code_bytes:g} for {least.factory}, "
            f"received {aim.bytes_per_item:g}"
        )
    return fitting


def _entry(chosen: Point, points: Sequence[Point], aim: IndexAim, at: int, folder: str) -> IndexEntry:
    names = [f"index-{shard}.faiss" for shard in range(aim.shard_count)] if aim.shard_count > 1 else ["index.faiss"]
    files = [f"{folder}/{name}".lstrip("/") for name in names]
    return chosen.entry.model_copy(
        update={
            "file": files[0],
            "files": files if aim.shard_count > 1 else [],
            "recall": round(chosen.recall, 6),
            "recall_at": at,
            "recall_target": aim.recall_target,
            "median_ms": chosen.median_ms,
            "bytes_per_item": chosen.spec.code_bytes,
            "frontier": [point.frontier_entry(is_chosen=point is chosen) for point in points],
        }
    )
