from __future__ import annotations

from pathlib import Path

import pytest

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import ModelAnswerInvalid
from ranking_service.loading import open_verified, warm_up
from tests.unit.ranking_service.catalogue import FixedScorer, RetrievalScorer, publish
from twostage.bundle.checksums import sum_file
from twostage.bundle.errors import BundleCorrupt, GenerationMissing
from twostage.bundle.manifest import read_manifest, write_manifest


@pytest.mark.parametrize(
    "name",
    [
        "items/ids.blob.npy",
        "items/attributes/genre/codes.npy",
        "ranking/main/candidates.npy",
        "ranking/main/histories.npy",
        "retrieval/main/vectors.npy",
    ],
)
def test_a_flipped_byte_in_anything_that_ranking_maps_is_found(store_path: Path, name: str) -> None:
    store = publish(store_path)
    path = store.generations_path / "1" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleCorrupt, match=f"{name}: expected sha256"):
        open_verified(store, 1)


def test_a_whole_generation_opens(store_path: Path) -> None:
    assert open_verified(publish(store_path), 1).number == 1


def test_warming_up_ranks_one_and_many_popular_items(engine: RankingEngine) -> None:
    scorer = RetrievalScorer()
    warm_up(engine, scorer)
    assert [len(inputs["retrieval_scores"]) for _, _, inputs, _ in scorer.calls] == [1, engine.item_count]


def test_a_model_that_cannot_rank_fails_the_warm_up(engine: RankingEngine) -> None:
    with pytest.raises(ModelAnswerInvalid):
        warm_up(engine, FixedScorer(engine.generation.popularity))


def test_models_are_compared_where_this_service_names_them(store_path: Path) -> None:
    store = publish(store_path)
    model = store.models_path / "main" / "1" / "saved_model.pb"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"as published")
    folder = store.generations_path / "1"
    entry = {"models/main/1/saved_model.pb": sum_file(model)}
    write_manifest(folder, read_manifest(folder).model_copy(update={"model_files": entry}))
    assert open_verified(store, 1, models=True).number == 1
    model.write_bytes(b"as Published")
    assert open_verified(store, 1).number == 1
    with pytest.raises(BundleCorrupt, match=r"saved_model\.pb: expected sha256"):
        open_verified(store, 1, models=True)


def test_the_generation_asked_for_opens_though_a_newer_one_is_current(store_path: Path) -> None:
    publish(store_path)
    store = publish(store_path)
    assert open_verified(store, 2).number == 2
    assert open_verified(store, 1).number == 1
    with pytest.raises(GenerationMissing):
        open_verified(store, 3)
