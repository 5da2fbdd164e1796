"""The retrieval service over Milvus instead of the bundle's index."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from retrieval_service.loading import Loading
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_store
from tests.integration.generations.servers import retrieval, retrieve_request, until
from twostage.bundle.errors import BundleCorrupt
from twostage.features.history import History

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("pymilvus", "milvus_lite")),
    reason="pymilvus or milvus-lite is not installed",
)


def test_a_generation_that_was_pushed_is_served_as_from_its_own_index(tmp_path: Path) -> None:
    from retrieval_service.milvus.address import MilvusAddress  # noqa: PLC0415 - pymilvus may be absent
    from retrieval_service.milvus.collection import Collection  # noqa: PLC0415
    from retrieval_service.milvus.connection import connect  # noqa: PLC0415
    from retrieval_service.milvus.push import push  # noqa: PLC0415

    store = make_store(tmp_path / "store", item_count=400)
    uri = str(tmp_path / "milvus.db")
    settings = RetrievalSettings(store=store.path, milvus_uri=uri, milvus_timeout_ms=20_000)
    loading = Loading(settings, store, CapturingLogger())
    with pytest.raises(BundleCorrupt, match="found no file"):
        loading.prepare(1)

    generation = store.open()
    address = MilvusAddress.parse(uri, "")
    with connect(address) as client:
        push(client, address, Collection.of(generation), kind="FLAT")
        held = loading.prepare(1)
        query = RetrievalQuery(
            History.of_rows(np.array([3, 14], np.uint32)), 50, exclude_rows=np.arange(20, dtype=np.uint32)
        )
        found, own = held.engine.retrieve(query), RetrievalEngine.open(generation).retrieve(query)
    held.close()
    assert found.rows.tolist() == own.rows.tolist()
    np.testing.assert_allclose(found.scores, own.scores, atol=1e-5)


def test_a_generation_that_is_pushed_after_it_became_current_is_served_then(tmp_path: Path) -> None:
    from retrieval_service.milvus.address import MilvusAddress  # noqa: PLC0415 - pymilvus may be absent
    from retrieval_service.milvus.collection import Collection  # noqa: PLC0415
    from retrieval_service.milvus.connection import connect  # noqa: PLC0415
    from retrieval_service.milvus.push import push  # noqa: PLC0415

    path = tmp_path / "store"
    store = make_store(path)
    uri = str(tmp_path / "milvus.db")
    address = MilvusAddress.parse(uri, "")
    with connect(address) as client:
        push(client, address, Collection.of(store.open()), kind="FLAT")
        with retrieval(path, milvus_uri=uri, milvus_timeout_ms=20_000) as service:
            make_store(path, seed=2)
            until(service.refused)
            assert service.held() == [1]
            push(client, address, Collection.of(store.open(2)), kind="FLAT")
            until(lambda: service.held() == [2, 1])
            answers = {
                number: list(service.stub.Retrieve(retrieve_request(number), timeout=20).candidates.rows)
                for number in (1, 2)
            }
    for number, rows in answers.items():
        vectors = store.open(number).array("retrieval/default/item_vectors.npy").astype(np.float64)
        expected = [row for row in np.argsort(-(vectors @ vectors[42])).tolist() if row != 42]
        assert rows == expected[:20]
