"""Index files of FAISS behind the engine's protocol."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.exact_scan import best_first, exact_scan
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet


class FaissIndex:
    """An exact or an inverted-file index, inner product, rows as ids.

    An inverted file is probed at the depth that was measured when it was built, deeper in proportion when more is
    asked for or when the selector leaves less; where that would probe all of it, what the selector leaves is scanned.
    Its codes are half precision, so what it finds is scored again with the item vectors.

    Args:
        index: The index, holding one vector for each item vector.
        entry: What the manifest says of it.
        item_vectors: float32[N, D].
    """

    def __init__(self, index: Any, entry: IndexEntry, item_vectors: NDArray[np.float32]) -> None:
        self._index = index
        self._item_vectors = item_vectors
        self._list_count = int(index.nlist) if entry.family == "ivf" else 0
        self._probe_count = entry.probe_count or 1
        self._measured_at = entry.recall_at or 1

    @classmethod
    def open(cls, path: Path, entry: IndexEntry, item_vectors: NDArray[np.float32]) -> Self:
        """Maps an index file and holds it against the manifest.

        Args:
            path: The file.
            entry: What the manifest says of it.
            item_vectors: float32[N, D], what it must index.

        Raises:
            BundleCorrupt: The file is absent or no index, of another family, dimension, metric or size, or the
                index does not do what a selector asks.
        """
        if not path.is_file():
            raise BundleCorrupt(path, "an index", "no file")
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            reason = str(error).rsplit("Error: ", maxsplit=1)[-1].splitlines()[0]
            raise BundleCorrupt(path, "an index that faiss reads", reason) from error
        wanted = faiss.IndexFlat if entry.family == "exact" else faiss.IndexIVF
        item_count, dimension = item_vectors.shape
        if not isinstance(index, wanted):
            raise BundleCorrupt(path, f"an index of family {entry.family}", type(index).__name__)
        if index.d != dimension:
            raise BundleCorrupt(path, f"{dimension} dimensions", f"{index.d}")
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise BundleCorrupt(path, "the inner product as metric", f"metric {index.metric_type}")
        if index.ntotal != item_count:
            raise BundleCorrupt(path, f"{item_count} vectors", f"{index.ntotal}")
        opened = cls(index, entry, item_vectors)
        opened._check_selectors(path)
        return opened

    def search(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """As :meth:`retrieval_service.engine.index.vector_index.VectorIndex.search`."""
        item_count = len(self._item_vectors)
        allowed_count = item_count if selector is None else len(selector)
        count = min(count, allowed_count)
        if count == 0:
            return np.empty(0, np.uint32), np.empty(0, np.float32)
        if not self._list_count:
            return best_first(*self._search(vector, count, selector, probe_count=0))
        depth = max(1.0, count / self._measured_at) * item_count / allowed_count
        probe_count = math.ceil(self._probe_count * depth)
        while probe_count < self._list_count:
            rows, _ = self._search(vector, count, selector, probe_count)
            if len(rows) == count:
                return best_first(rows, self._item_vectors[rows] @ vector)
            probe_count *= 2
        return exact_scan(self._item_vectors, vector, count, selector)

    def _search(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None, probe_count: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """One search of the index; fewer than ``count`` when the probed lists hold fewer."""
        # Requests run side by side; a search that takes several threads would slow the others down. OpenMP keeps
        # this number for each calling thread.
        faiss.omp_set_num_threads(1)
        asked: dict[str, Any] = {"nprobe": probe_count} if probe_count else {}
        if selector is not None:
            bits = selector.octets
            # FAISS keeps a bare pointer: `bits` must outlive the search, and as a local it does.
            asked["sel"] = faiss.IDSelectorBitmap(bits.size, faiss.swig_ptr(bits))
        parameters = None
        if asked:
            parameters = faiss.SearchParametersIVF(**asked) if probe_count else faiss.SearchParameters(**asked)
        scores, rows = self._index.search(vector.reshape(1, -1), count, params=parameters)
        found = rows[0]
        # Missing rows are padded with -1, at the end.
        short = int(np.searchsorted(-(found >= 0).view(np.int8), 0)) if found[-1] < 0 else count
        return found[:short].astype(np.uint32), scores[0, :short]

    def _check_selectors(self, path: Path) -> None:
        """Some indexes ignore selectors silently, so the nearest row is excluded once and must be gone."""
        vector = np.array(self._item_vectors[0])
        nearest, _ = self.search(vector, 1, None)
        item_count = len(self._item_vectors)
        if item_count == 1:
            return
        selector = RowSet.all_rows(item_count).without(nearest)
        found, _ = self._search(vector, min(2, item_count - 1), selector, min(1, self._list_count))
        if nearest[0] in found:
            raise BundleCorrupt(path, "an index that excludes what a selector excludes", "the excluded row")
