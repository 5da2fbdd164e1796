from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from retrieval_service.loading import Loading
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_store
from tests.sharded_store import make_sharded_store
from twostage.bundle.errors import BundleCorrupt, BundleUnsupported, GenerationMissing
from twostage.bundle.store import Store


def loading(store: Store, **settings: Any) -> Loading:
    return Loading(RetrievalSettings(store=store.location, **settings), store, CapturingLogger())


def test_the_generation_asked_for_is_loaded_though_a_newer_one_is_current(tmp_path: Path) -> None:
    make_store(tmp_path, item_count=40)
    store = make_store(tmp_path, item_count=50)
    ours = loading(store)
    assert [(held.number, held.item_count) for held in (ours.prepare(2), ours.prepare(1))] == [(2, 50), (1, 40)]
    with pytest.raises(GenerationMissing):
        ours.prepare(3)


@pytest.mark.parametrize("name", ["items/ids.blob.npy", "retrieval/default/index.faiss", "golden/retrieval.json"])
def test_one_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path, item_count=40)
    path = store.generations_path / "1" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleCorrupt, match="expected sha256"):
        loading(store).prepare(1)


def test_a_newer_generation_with_another_number_of_shards_is_refused_and_an_older_one_is_not(tmp_path: Path) -> None:
    store = make_sharded_store(tmp_path, shard_count=2)
    make_sharded_store(tmp_path, shard_count=3)
    make_sharded_store(tmp_path, shard_count=2)
    ours = loading(store, shard=1)
    assert ours.prepare(1).engine.shard.count == 2
    with pytest.raises(
        BundleUnsupported, match=r"generation 2: expected an index of 2 shards, .* shard 1 of 2, found 3"
    ):
        ours.prepare(2)
    assert ours.prepare(3).engine.shard.count == 2
    # One that is started again must be able to hold what the others serve.
    assert ours.prepare(2).engine.shard.count == 3
    with pytest.raises(BundleCorrupt):
        loading(store, shard=2).prepare(1)


def test_a_server_of_all_shards_takes_any_number_of_them(tmp_path: Path) -> None:
    store = make_sharded_store(tmp_path, shard_count=2)
    make_sharded_store(tmp_path, shard_count=3)
    ours = loading(store)
    assert [ours.prepare(number).engine.shard.count for number in (1, 2)] == [1, 1]
