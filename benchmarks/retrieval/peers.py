"""Other libraries as searchers: ``python -m benchmarks.retrieval.peers NAME``, started by other benchmarks.

Runs with an interpreter that has the library and NumPy. Indexes are built with all cores and kept; searches are single,
on the calling thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, metadata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.searcher import private_output, serve

_LEAVES = (4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96)
_REORDERED = (1.2, 1.4, 1.6, 1.8, 2.0, 3.0)
_EFFORTS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
_LINKS = 32
_BUILD_EFFORT = 200


class _Peer(ABC):
    """What the libraries have in common: an index that is built once for the same vectors and parameters.

    Args:
        vectors: float32[N, D], L2-normalised.
        at: How many rows are searched for.
        cache: Where built indexes are kept.
    """

    package: str
    built_with: Mapping[str, Any]

    def __init__(self, vectors: NDArray[np.float32], at: int, cache: Path) -> None:
        self.version = metadata.version(self.package)
        self.build_seconds: float | None = None
        self.points: Sequence[Mapping[str, float]] = []
        self.at = at
        sample = np.ascontiguousarray(vectors[:: max(1, len(vectors) // 1000)])
        told = json.dumps([self.version, self.built_with, list(vectors.shape)], sort_keys=True).encode()
        self.folder = cache / f"{self.package}-{hashlib.sha256(told + sample.tobytes()).hexdigest()[:16]}"
        if not self.folder.is_dir():
            aside = self.folder.with_name(f"{self.folder.name}.building")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            started = time.perf_counter()
            self._build(vectors, aside)
            self.build_seconds = time.perf_counter() - started
            aside.rename(self.folder)
        self._load(vectors.shape)

    @abstractmethod
    def _build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        """Builds the index and writes it to a folder."""

    @abstractmethod
    def _load(self, shape: tuple[int, ...]) -> None:
        """Loads the index that was written."""


class ScaNN(_Peer):
    """ScaNN (R. Guo et al., *Accelerating large-scale inference with anisotropic vector quantization*, 2020).

    A tree of 2 √N leaves, 2,000 for a million, anisotropic hashing of pairs of dimensions with threshold 0.2, exact
    reordering, as in its own example for one to ten million vectors.
    """

    package = "scann"

    def __init__(self, vectors: NDArray[np.float32], at: int, cache: Path) -> None:
        self._leaves = round(2 * len(vectors) ** 0.5)
        self.built_with = {"leaves": self._leaves, "sample": 250_000, "dimensions": 2, "threshold": 0.2, "at": at}
        super().__init__(vectors, at, cache)
        reordered = [round(factor * at) for factor in _REORDERED]
        self.points = [
            {"leaves_to_search": leaves, "pre_reorder": count}
            for leaves, count in product(_LEAVES, reordered)
            if leaves <= self._leaves
        ]

    def _build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        library = import_module("scann").scann_ops_pybind
        builder = library.builder(vectors, self.at, "dot_product").set_n_training_threads(os.cpu_count())
        builder = builder.tree(
            num_leaves=self._leaves, num_leaves_to_search=64, training_sample_size=min(250_000, len(vectors))
        )
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(2 * self.at)
        builder.build().serialize(str(folder), relative_path=True)

    def _load(self, shape: tuple[int, ...]) -> None:
        del shape
        self._index = import_module("scann").scann_ops_pybind.load_searcher(str(self.folder))

    def choose(self, point: Mapping[str, float]) -> None:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        self._point = point

    def search(self, query: NDArray[np.float32]) -> NDArray[Any]:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        rows: NDArray[Any] = self._index.search(
            query,
            final_num_neighbors=self.at,
            leaves_to_search=self._point["leaves_to_search"],
            pre_reorder_num_neighbors=self._point["pre_reorder"],
        )[0]
        return rows


class Hnswlib(_Peer):
    """hnswlib, by the authors of HNSW (Y. Malkov and D. Yashunin, 2018)."""

    package = "hnswlib"

    def __init__(self, vectors: NDArray[np.float32], at: int, cache: Path) -> None:
        self.built_with = {"M": _LINKS, "ef_construction": _BUILD_EFFORT}
        super().__init__(vectors, at, cache)
        self.points = [{"ef": round(effort * at)} for effort in _EFFORTS]

    def _build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        index = import_module("hnswlib").Index(space="ip", dim=vectors.shape[1])
        index.init_index(len(vectors), M=_LINKS, ef_construction=_BUILD_EFFORT)
        index.add_items(vectors, num_threads=os.cpu_count())
        index.save_index(str(folder / "index"))

    def _load(self, shape: tuple[int, ...]) -> None:
        self._index = import_module("hnswlib").Index(space="ip", dim=shape[1])
        self._index.load_index(str(self.folder / "index"), max_elements=shape[0])
        self._index.set_num_threads(1)

    def choose(self, point: Mapping[str, float]) -> None:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        self._index.set_ef(point["ef"])

    def search(self, query: NDArray[np.float32]) -> NDArray[Any]:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        rows: NDArray[Any] = self._index.knn_query(query, self.at, num_threads=1)[0]
        return rows


class USearch(_Peer):
    """usearch: HNSW over numbers of 16 bits."""

    package = "usearch"

    def __init__(self, vectors: NDArray[np.float32], at: int, cache: Path) -> None:
        self.built_with = {"connectivity": _LINKS, "expansion_add": _BUILD_EFFORT, "dtype": "f16"}
        super().__init__(vectors, at, cache)
        self.points = [{"expansion_search": round(effort * at)} for effort in _EFFORTS]

    def _build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        index = import_module("usearch.index").Index(
            ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=_LINKS, expansion_add=_BUILD_EFFORT
        )
        index.add(np.arange(len(vectors)), vectors, threads=os.cpu_count())
        index.save(str(folder / "index"))

    def _load(self, shape: tuple[int, ...]) -> None:
        del shape
        self._index = import_module("usearch.index").Index.restore(str(self.folder / "index"), view=False)

    def choose(self, point: Mapping[str, float]) -> None:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        self._index.expansion_search = point["expansion_search"]

    def search(self, query: NDArray[np.float32]) -> NDArray[Any]:
        """As :class:`benchmarks.retrieval.searcher.Searcher`."""
        rows: NDArray[Any] = self._index.search(query, self.at, threads=1).keys
        return rows


PEERS: Mapping[str, Callable[[NDArray[np.float32], int, Path], Any]] = {
    "ScaNN": ScaNN,
    "hnswlib": Hnswlib,
    "usearch": USearch,
}
"""By the name that tables show."""


def main() -> None:
    """Builds or loads the index and obeys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval.peers", description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--at", type=int, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    answers = private_output()
    vectors = np.load(arguments.vectors / "vectors.npy")
    peer = PEERS[arguments.name](vectors, arguments.at, arguments.cache)
    # What was needed to build is not held beside the index while it is searched.
    del vectors
    serve(peer, arguments.task, answers, None)


if __name__ == "__main__":
    main()
