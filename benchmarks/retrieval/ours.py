"""The project's own index as a searcher: ``python -m benchmarks.retrieval.ours``, started by other benchmarks."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.saved_index import read_entry
from benchmarks.retrieval.searcher import anonymous_bytes, private_output, serve
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.measurement import searchable

_PARAMETERS = ("probe_count", "pool_factor", "ef_search")


class OurIndex:
    """A saved index through :class:`FaissIndex`, as the service opens and searches it.

    Args:
        vectors: The folder of vectors.
        index: The saved index.
        at: How many rows are searched for.
        whole_frontier: True adds every way of searching the same index that the builder measured; the first point
            is always what it chose.
    """

    def __init__(self, vectors: Path, index: Path, at: int, *, whole_frontier: bool) -> None:
        self.version = f"{importlib.metadata.version('twostage')}, FAISS {importlib.metadata.version('faiss-cpu')}"
        self.build_seconds: float | None = None
        self._at = at
        entry = read_entry(index)
        chosen = {name: getattr(entry, name) for name in _PARAMETERS if getattr(entry, name) is not None}
        self.points: list[Mapping[str, float]] = [chosen]
        if whole_frontier:
            for measured in entry.frontier:
                point = {name: getattr(measured, name) for name in _PARAMETERS if getattr(measured, name) is not None}
                if measured.factory == entry.factory and point not in self.points:
                    self.points.append(point)
        item_vectors = np.asarray(np.load(vectors / "vectors.npy", mmap_mode="r"))
        served = FaissIndex.open(index, entry, item_vectors)
        self._indexes = [served]
        if len(self.points) > 1:
            # One copy of the codes for all points, or half of them would be timed with codes that came from the disk.
            parts = [faiss.read_index(str(index / file), faiss.IO_FLAG_MMAP_IFC) for file in entry.shard_files]
            lists = None if entry.row_lists is None else np.load(index / entry.row_lists, mmap_mode="r")
            self._indexes = [
                searchable(parts, entry.model_copy(update=dict(point)), item_vectors, lists) for point in self.points
            ]
        self._searched = served

    def choose(self, point: Mapping[str, float]) -> None:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        self._searched = self._indexes[self.points.index(point)]

    def search(self, query: NDArray[np.float32]) -> NDArray[np.uint32]:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        return self._searched.search(query, self._at, None)[0]


def main() -> None:
    """Opens the index and obeys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval.ours", description=__doc__)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--at", type=int, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--whole-frontier", action="store_true")
    arguments = parser.parse_args()
    answers = private_output()
    held_before = anonymous_bytes()
    index = OurIndex(arguments.vectors, arguments.index, arguments.at, whole_frontier=arguments.whole_frontier)
    serve(index, arguments.task, answers, held_before)


if __name__ == "__main__":
    main()
