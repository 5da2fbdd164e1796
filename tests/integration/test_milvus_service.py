"""The retrieval service over Milvus instead of the bundle's index."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from retrieval_service.server import load
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_store
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
    with pytest.raises(BundleCorrupt, match="found no file"):
        load(settings, CapturingLogger())

    generation = store.open()
    address = MilvusAddress.parse(uri, "")
    with connect(address) as client:
        push(client, address, Collection.of(generation), kind="FLAT")
        held = load(settings, CapturingLogger())
        query = RetrievalQuery(
            History.of_rows(np.array([3, 14], np.uint32)), 50, exclude_rows=np.arange(20, dtype=np.uint32)
        )
        found, own = held.engine.retrieve(query), RetrievalEngine.open(generation).retrieve(query)
    held.close()
    assert found.rows.tolist() == own.rows.tolist()
    np.testing.assert_allclose(found.scores, own.scores, atol=1e-5)
