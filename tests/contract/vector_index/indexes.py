"""The implementations that the contract holds for.

One more is one more entry of :data:`INDEXES`: a function that makes an index over the trial's vectors, as a context
manager that leaves nothing behind. Milvus is milvus-lite in a temporary file, or, where the environment names a
cluster by TWOSTAGE_TEST_MILVUS (and TWOSTAGE_TEST_MILVUS_TOKEN), that cluster, in collections that are dropped again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from retrieval_service.engine.index.builder import IndexAim, build_index, write_index
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.vector_index import VectorIndex
from tests.contract.vector_index.catalogues import Trial

Opening = Callable[[Path, Trial], AbstractContextManager[VectorIndex]]


@dataclass(frozen=True)
class Implementation:
    """An implementation under the contract.

    Args:
        open: Makes the index, given an empty folder and a trial.
        is_exact: Whether it misses nothing.
    """

    open: Opening
    is_exact: bool = False


@contextmanager
def _faiss(folder: Path, trial: Trial, *, family: str, shard_count: int = 1) -> Iterator[VectorIndex]:
    aim = IndexAim(at=50, families=(family,), shard_count=shard_count, exact_limit=0)
    built = build_index(trial.vectors, trial.queries, aim)
    write_index(built, folder)
    yield FaissIndex.open(folder, built.entry, trial.vectors)


@contextmanager
def _milvus(folder: Path, trial: Trial, *, kind: str) -> Iterator[VectorIndex]:
    uri = os.environ.get("TWOSTAGE_TEST_MILVUS")
    needed = ["pymilvus"] if uri else ["pymilvus", "milvus_lite"]
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{' and '.join(absent)} not installed")

    from retrieval_service.milvus.address import MilvusAddress  # noqa: PLC0415 - pymilvus may be absent
    from retrieval_service.milvus.collection import Collection, collection_name  # noqa: PLC0415
    from retrieval_service.milvus.connection import connect  # noqa: PLC0415
    from retrieval_service.milvus.milvus_index import MilvusIndex, SearchPlan  # noqa: PLC0415
    from retrieval_service.milvus.push import push  # noqa: PLC0415

    address = MilvusAddress.parse(uri or str(folder / "milvus.db"), os.environ.get("TWOSTAGE_TEST_MILVUS_TOKEN", ""))
    fingerprint = hashlib.sha256(trial.vectors.tobytes()).hexdigest()
    name = collection_name(1, "contract", fingerprint, prefix=f"test_{uuid.uuid4().hex[:8]}")
    collection = Collection(name, trial.vectors)
    # Small bounds, so that every way of searching is taken and not just the scan that fits a small catalogue.
    plan = SearchPlan(timeout_seconds=30, scan_rows=100, named_rows=400)
    with connect(address) as client:
        push(client, address, collection, kind=kind)  # type: ignore[arg-type]
        index = MilvusIndex.open(address, collection, plan=plan)
        try:
            yield index
        finally:
            index.close()
            client.drop_collection(name)


INDEXES: dict[str, Implementation] = {
    "faiss_exact": Implementation(partial(_faiss, family="exact"), is_exact=True),
    "faiss_exact_shards": Implementation(partial(_faiss, family="exact", shard_count=3), is_exact=True),
    "faiss_ivf": Implementation(partial(_faiss, family="ivf_fp16")),
    "faiss_ivf_shards": Implementation(partial(_faiss, family="ivf_fp16", shard_count=3)),
    "faiss_fast_scan": Implementation(partial(_faiss, family="ivf_pq1")),
    "faiss_fast_scan_shards": Implementation(partial(_faiss, family="ivf_pq1", shard_count=3)),
    "faiss_hnsw": Implementation(partial(_faiss, family="hnsw")),
    "faiss_rabitq": Implementation(partial(_faiss, family="rabitq4")),
    "milvus_ivf": Implementation(partial(_milvus, kind="IVF_FLAT")),
    "milvus_hnsw": Implementation(partial(_milvus, kind="HNSW")),
    "milvus_flat": Implementation(partial(_milvus, kind="FLAT"), is_exact=True),
}
