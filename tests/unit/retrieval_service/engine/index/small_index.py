"""A small catalogue in clusters, indexes over it, built once for all tests, and the judge: brute force in NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.coarse_lists import CoarseLists
from retrieval_service.engine.index.construction import build_parts, silent, train_lists
from retrieval_service.engine.index.faiss_file import read_row_lists
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.faiss_part import FaissPart
from retrieval_service.engine.index.families import index_specs
from retrieval_service.engine.index.measurement import measure_spread
from retrieval_service.engine.index.shard_rows import shard_rows
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

# On machines that are busy otherwise, threads wait for each other for longer than they work.
faiss.omp_set_num_threads(1)

DIMENSION = 32
ITEM_COUNT = 6000
CLUSTER_COUNT = 60
LIST_COUNT = 96
MEASURED_AT = 30


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


_random = np.random.default_rng(41)
CENTRES = _random.normal(size=(CLUSTER_COUNT, DIMENSION))
CLUSTERS: NDArray[np.int64] = _random.integers(0, CLUSTER_COUNT, ITEM_COUNT)
VECTORS = _unit(CENTRES[CLUSTERS] + 0.6 * _random.normal(size=(ITEM_COUNT, DIMENSION)))
QUERIES = _unit(
    CENTRES[_random.integers(0, CLUSTER_COUNT, 40)]
    + 0.5 * CENTRES[_random.integers(0, CLUSTER_COUNT, 40)]
    + 0.4 * _random.normal(size=(40, DIMENSION))
)

# Of few bits, so that sums are exact in any order, and each many times: equal inner products are equal to the last bit.
_few_bits = _random.integers(-4, 5, size=(120, DIMENSION)) / 8
TIED = np.asarray(_few_bits[_random.integers(0, 120, 1000)], np.float32)
TIED_QUERIES = np.asarray(_few_bits[:10], np.float32)

ENTRIES = {
    "exact": IndexEntry(family="exact", factory="Flat", file="index.faiss", recall_at=MEASURED_AT),
    "ivf_fp16": IndexEntry(family="ivf", factory="SQfp16", file="index.faiss", recall_at=MEASURED_AT, probe_count=8),
    "ivf_pq1": IndexEntry(
        family="ivf_pq", factory="fs", file="index.faiss", recall_at=MEASURED_AT, probe_count=8, pool_factor=1.7
    ),
    "rabitq4": IndexEntry(
        family="rabitq", factory="fs4", file="index.faiss", recall_at=MEASURED_AT, probe_count=8, pool_factor=1.5
    ),
    "hnsw": IndexEntry(family="hnsw", factory="HNSW32", file="index.faiss", recall_at=MEASURED_AT, ef_search=90),
}


@cache
def _centres(*, tied: bool) -> NDArray[np.float32]:
    return train_lists(TIED if tied else VECTORS, 24 if tied else LIST_COUNT, 0, silent)


@cache
def faiss_parts(name: str, shard_count: int = 1, *, tied: bool = False) -> list[Any]:
    """FAISS indexes, one for each shard, on the same centres whatever their number."""
    vectors, spec = TIED if tied else VECTORS, index_specs(DIMENSION)[name]
    centres = _centres(tied=tied) if spec.family in ("ivf", "ivf_pq", "rabitq") else None
    return build_parts(spec, vectors, centres, shard_count=shard_count, seed=0, progress=silent)


@cache
def row_lists(*, tied: bool = False) -> NDArray[np.integer]:
    """Each row's list, which hangs on the centres alone."""
    return read_row_lists(faiss_parts("ivf_fp16", tied=tied), len(TIED if tied else VECTORS))


@cache
def measured(*, tied: bool = False) -> dict[str, Any]:
    """What the entry of an index with lists says of how rows lie around them, and how far searches go."""
    vectors, queries = (TIED, TIED_QUERIES) if tied else (VECTORS, QUERIES)
    return {
        "spread": measure_spread(vectors, _centres(tied=tied), row_lists(tied=tied), queries),
        "coverage": 0.99,
    }


def coarse_lists(entry: IndexEntry = ENTRIES["ivf_fp16"], *, tied: bool = False) -> CoarseLists:
    """The lists that every index over the catalogue shares."""
    return CoarseLists(_centres(tied=tied), row_lists(tied=tied), entry)


def parts(name: str, shard_count: int = 1, *, tied: bool = False, **changes: Any) -> list[FaissPart]:
    """The shards of an index as they are served; ``changes`` are those of the manifest's entry."""
    vectors, entry = TIED if tied else VECTORS, ENTRIES[name].model_copy(update=changes)
    indexes = faiss_parts(name, shard_count, tied=tied)
    lists = None
    if entry.probe_count is not None:
        lists = coarse_lists(entry, tied=tied)
    return [
        FaissPart(index, entry, vectors, shard_rows(number, shard_count, len(vectors)), lists)
        for number, index in enumerate(indexes)
    ]


def opened(name: str, shard_count: int = 1, *, tied: bool = False, **changes: Any) -> FaissIndex:
    """All shards behind the engine's protocol."""
    return FaissIndex(parts(name, shard_count, tied=tied, **changes), len(TIED if tied else VECTORS))


def nearest(query: NDArray[np.float32], count: int, selector: RowSet | None = None) -> NDArray[np.intp]:
    """The ``count`` rows of the highest inner product in double precision."""
    allowed = np.arange(ITEM_COUNT) if selector is None else selector.rows.astype(np.intp)
    products = VECTORS[allowed].astype(np.float64) @ query.astype(np.float64)
    best: NDArray[np.intp] = allowed[np.argsort(-products, kind="stable")[:count]]
    return best


def recall(index: FaissIndex, count: int, selector: RowSet | None = None) -> float:
    """The share of the nearest rows that are found, over all queries."""
    return float(
        np.mean(
            [
                np.isin(nearest(query, count, selector), index.search(query, count, selector)[0]).mean()
                for query in QUERIES
            ]
        )
    )
