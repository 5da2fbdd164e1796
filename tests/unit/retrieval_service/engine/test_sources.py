from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval_service.engine import sources
from retrieval_service.engine.catalogue import Catalogue
from tests.bundles import TOWER, TinyCatalogue
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation
from twostage.bundle.row_set import RowSet


@pytest.fixture(scope="module")
def catalogue(generation: Generation) -> Catalogue:
    tower = generation.manifest.tower
    return Catalogue.open(
        generation.path,
        vectors=tower.item_vectors,
        dimension=tower.dimension,
        attributes=generation.manifest.attributes,
        item_count=generation.item_count,
    )


def popularity_order(items: TinyCatalogue) -> list[int]:
    return sorted(range(len(items.item_ids)), key=lambda row: (-items.popularity[row], row))


def test_popular_is_popularity_order(catalogue: Catalogue, items: TinyCatalogue) -> None:
    assert sources.popular(catalogue, 30, None).tolist() == popularity_order(items)[:30]


@pytest.mark.parametrize("count", [1, 7, 200, 500])
def test_popular_skips_what_the_selector_leaves_out(catalogue: Catalogue, items: TinyCatalogue, count: int) -> None:
    mask = np.random.default_rng(count).random(200) < 0.1
    expected = [row for row in popularity_order(items) if mask[row]][:count]
    assert sources.popular(catalogue, count, RowSet.of_mask(mask)).tolist() == expected


def test_interest_tags_match_any_multi_valued_attribute(catalogue: Catalogue, items: TinyCatalogue) -> None:
    tags = {"poetry", "fre", "no item has this"}
    mask = np.arange(200) % 2 == 0
    expected = [
        row for row in popularity_order(items) if mask[row] and tags & {*items.tags[row], *items.languages[row]}
    ]
    found = sources.with_interest_tags(catalogue, sorted(tags), 200, RowSet.of_mask(mask))
    assert found.tolist() == expected
    assert sources.with_interest_tags(catalogue, sorted(tags), 3, RowSet.of_mask(mask)).tolist() == expected[:3]


def test_unknown_tags_match_nothing(catalogue: Catalogue) -> None:
    assert len(sources.with_interest_tags(catalogue, ["no item has this"], 10, None)) == 0


def test_included_keeps_the_order_and_drops_repeats_and_what_may_not(catalogue: Catalogue) -> None:
    rows = np.array([9, 4, 9, 7, 1], np.uint32)
    assert sources.included(rows, RowSet.all_rows(200).without(np.array([7]))).tolist() == [9, 4, 1]
    assert sources.included(rows, None).tolist() == [9, 4, 7, 1]


def test_item_vectors_of_another_type_are_refused(generation: Generation, tmp_path: Path) -> None:
    folder = tmp_path / "retrieval" / TOWER
    folder.mkdir(parents=True)
    np.save(folder / "item_vectors.npy", np.zeros((200, 16), np.float16))
    with pytest.raises(BundleCorrupt, match="expected float32, found float16"):
        Catalogue.open(
            tmp_path, vectors=f"retrieval/{TOWER}/item_vectors.npy", dimension=16, attributes={}, item_count=200
        )
