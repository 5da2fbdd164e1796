from __future__ import annotations

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.index.index_builder import EXACT_LIMIT, build_index


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    centres = np.random.default_rng(7).normal(size=(30, 8))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 30, count)] + 0.4 * generator.normal(size=(count, 8))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


VECTORS = clustered(2000, 0)
QUERIES = clustered(50, 1)


def test_a_small_catalogue_gets_an_exact_index() -> None:
    index, entry = build_index(VECTORS, QUERIES)
    assert isinstance(index, faiss.IndexFlatIP)
    assert len(VECTORS) <= EXACT_LIMIT
    assert (entry.family, entry.recall, entry.recall_at, entry.probe_count) == ("exact", 1.0, 500, None)


@pytest.mark.parametrize("recall_target", [0.5, 0.95])
def test_the_fewest_probes_that_reach_the_recall_are_chosen(recall_target: float) -> None:
    index, entry = build_index(VECTORS, QUERIES, recall_target=recall_target, at=40, exact_limit=0)

    def recall(probe_count: int) -> float:
        index.nprobe = probe_count
        nearest = np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :40]
        found = index.search(QUERIES, 40)[1]
        return float(
            np.mean([len(set(a.tolist()) & set(b.tolist())) / 40 for a, b in zip(nearest, found, strict=True)])
        )

    assert entry.probe_count is not None
    assert entry.recall == pytest.approx(recall(entry.probe_count), abs=0.01)
    assert recall(entry.probe_count) >= recall_target - 0.01
    assert recall(entry.probe_count - 1) < recall_target + 0.01
    assert entry.factory == "IVF179,SQfp16"


def test_the_same_seed_gives_the_same_index() -> None:
    first, second = (build_index(VECTORS, QUERIES, at=40, exact_limit=0, seed=3) for _ in range(2))
    assert first[1].probe_count == second[1].probe_count
    assert (faiss.serialize_index(first[0]) == faiss.serialize_index(second[0])).all()


@pytest.mark.parametrize(
    ("vectors", "queries", "recall_target", "named"),
    [
        (VECTORS[:0], QUERIES, 0.9, "vectors"),
        (VECTORS, QUERIES[:0], 0.9, "queries"),
        (VECTORS, QUERIES[:, :4], 0.9, "queries"),
        (VECTORS, QUERIES, 0.0, "recall_target"),
    ],
)
def test_bad_arguments_are_named(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], recall_target: float, named: str
) -> None:
    with pytest.raises(ValueError, match=f"{named}: expected"):
        build_index(vectors, queries, recall_target=recall_target)
