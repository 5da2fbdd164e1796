"""Index files of FAISS, held against the manifest when they are opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.coarse_lists import CoarseLists, centroids_of
from retrieval_service.engine.index.exact_scan import inner_products
from retrieval_service.engine.index.faiss_part import FaissPart, OnSearch
from retrieval_service.engine.index.selector_support import SelectorSupport
from retrieval_service.engine.index.shard_rows import shard_rows
from twostage.bundle.arrays import map_array
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import IndexEntry

_TYPES = {
    "exact": faiss.IndexFlat,
    "ivf": faiss.IndexIVFScalarQuantizer,
    "ivf_pq": faiss.IndexIVFPQFastScan,
    "rabitq": faiss.IndexIVFRaBitQFastScan,
    "hnsw": faiss.IndexHNSW,
}

_PLACE = re.compile(r"^Error in .* at \S+:\d+: (Error: )?", re.DOTALL)
"""Where in FAISS's source an error was raised, which its messages begin with."""

_CODE_ERROR = {"ivf_pq": 0.05, "rabitq": 0.05}
"""How far the nearest row that short codes find may be from a vector that is indexed: in a tight cluster they do not
tell one row from the next."""

_COMPARED_LISTS = 16


def open_part(
    folder: Path,
    entry: IndexEntry,
    item_vectors: NDArray[np.float32],
    shard: int,
    lists: CoarseLists | None = None,
    on_search: OnSearch | None = None,
) -> FaissPart:
    """Maps one shard's file and holds it against the manifest.

    Args:
        folder: The generation's folder.
        entry: What the manifest says of the index.
        item_vectors: float32[N, D], what it must index.
        shard: Which of the entry's shards, from 0.
        lists: What another shard of the same index has reckoned already; made here when None.
        on_search: As of :class:`FaissPart`.

    Raises:
        BundleCorrupt: A file is absent or no index, of another family, dimension, metric or size, belongs to other
            vectors, or the index does not do what a selector asks where it must.
    """
    files = entry.shard_files
    if not 0 <= shard < len(files):
        raise BundleCorrupt(folder, f"a shard from 0 to {len(files) - 1}", f"{shard}")
    path = folder / files[shard]
    rows = shard_rows(shard, len(files), len(item_vectors))
    index = _read(path)
    _check(path, index, entry, item_vectors, rows)
    if isinstance(index, faiss.IndexIVF):
        row_lists = _row_lists(folder, path, index, entry, rows, len(item_vectors))
        if lists is None:
            lists = CoarseLists(centroids_of(index), row_lists, entry)
            lists.prepare()
    part = FaissPart(index, entry, item_vectors, rows, lists, on_search)
    if part.selector_support is not SelectorSupport.HONOURED:
        raise BundleCorrupt(
            path, "an index that excludes what a selector excludes", f"selectors are {part.selector_support.value}"
        )
    _check_vectors(path, part, entry, item_vectors, rows)
    return part


def _read(path: Path) -> Any:
    if not path.is_file():
        raise BundleCorrupt(path, "an index", "no file")
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        reason = _PLACE.sub("", str(error)).splitlines()[0]
        raise BundleCorrupt(path, "an index that faiss reads", reason) from error


def _check(path: Path, index: Any, entry: IndexEntry, item_vectors: NDArray[np.float32], rows: range) -> None:
    wanted: Any = _TYPES[entry.family]
    if not isinstance(index, wanted):
        raise BundleCorrupt(path, f"an index of family {entry.family}", type(index).__name__)
    if index.d != item_vectors.shape[1]:
        raise BundleCorrupt(path, f"{item_vectors.shape[1]} dimensions", f"{index.d}")
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise BundleCorrupt(path, "the inner product as metric", f"metric {index.metric_type}")
    if index.ntotal != len(rows):
        raise BundleCorrupt(path, f"{len(rows)} vectors", f"{index.ntotal}")


def _row_lists(
    folder: Path, path: Path, index: Any, entry: IndexEntry, rows: range, item_count: int
) -> NDArray[np.integer]:
    if entry.row_lists is not None:
        row_lists = map_array(folder / entry.row_lists, shape=(item_count,))
        if row_lists.dtype not in (np.uint16, np.uint32):
            raise BundleCorrupt(folder / entry.row_lists, "uint16 or uint32", str(row_lists.dtype))
        _check_row_lists(folder / entry.row_lists, row_lists, path, index, rows)
        return row_lists
    if index.ntotal != item_count:
        raise BundleCorrupt(path, "row_lists in the manifest beside shards", "none")
    try:
        return read_row_lists([index], item_count)
    except IndexError:
        raise BundleCorrupt(path, f"rows from 0 to {item_count - 1}", "others") from None


def _check_row_lists(lists_path: Path, row_lists: NDArray[np.integer], path: Path, index: Any, rows: range) -> None:
    """Lists of another index have the right shape and the wrong rows, and so has another shard."""
    highest = int(row_lists.max())
    if highest >= index.nlist:
        raise BundleCorrupt(lists_path, f"lists from 0 to {index.nlist - 1}", f"{highest}")
    for number in np.linspace(0, index.nlist - 1, min(_COMPARED_LISTS, index.nlist)).astype(int).tolist():
        size = index.invlists.list_size(number)
        if not size:
            continue
        held = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
        if held.min() < rows.start or held.max() >= rows.stop:
            raise BundleCorrupt(path, f"rows from {rows.start} to {rows.stop - 1}", f"{held.min()} to {held.max()}")
        elsewhere = held[row_lists[held] != number]
        if len(elsewhere):
            row = int(elsewhere[0])
            raise BundleCorrupt(lists_path, f"row {row} in list {number}, as in {path.name}", f"{row_lists[row]}")


def read_row_lists(parts: Sequence[Any], item_count: int) -> NDArray[np.integer]:
    """uint16 or uint32[N], the inverted list of each row, out of an index whose shards hold all rows.

    Args:
        parts: Inverted files whose ids are rows.
        item_count: N.
    """
    row_lists: NDArray[Any] = np.zeros(item_count, np.uint16 if parts[0].nlist <= 1 << 16 else np.uint32)
    for part in parts:
        lists = part.invlists
        for number in range(part.nlist):
            size = lists.list_size(number)
            if size:
                row_lists[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
    return row_lists


def _check_vectors(
    path: Path, part: FaissPart, entry: IndexEntry, item_vectors: NDArray[np.float32], rows: range
) -> None:
    """An index of another generation has the right shape and the wrong neighbours."""
    for row in np.linspace(rows.start, rows.stop - 1, min(3, len(rows))).astype(int):
        vector = np.array(item_vectors[row])
        pool = part.pool(vector, min(10, len(rows)), None)
        if not len(pool.rows):
            raise BundleCorrupt(path, f"items near row {row}", "none")
        # An exact index's own keys say nothing of the order in which it holds the vectors.
        own = inner_products(item_vectors, pool.rows, vector).max()
        if own < float(vector @ vector) - _CODE_ERROR.get(entry.family, 1e-3):
            raise BundleCorrupt(path, f"row {row} or its like found with its own vector", f"inner product {own:.4f}")
