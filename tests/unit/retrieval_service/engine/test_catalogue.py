from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from retrieval_service.engine.catalogue import Catalogue
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation

VECTORS = "retrieval/default/item_vectors.npy"


def opened(folder: Path, generation: Generation) -> Catalogue:
    manifest = generation.manifest
    return Catalogue.open(
        folder, manifest.tower, orders=manifest.orders, attributes=manifest.attributes, item_count=manifest.item_count
    )


def test_what_a_bundle_does_not_have_is_empty(generation: Generation) -> None:
    catalogue = opened(generation.path, generation)
    assert len(catalogue.trending_rows) == len(catalogue.arrival_rows) == len(catalogue.representative_rows) == 0
    assert catalogue.tags is None
    assert catalogue.item_count == 200


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        (VECTORS, np.zeros((200, 16), np.float16), "expected float32, found float16"),
        (VECTORS, np.zeros((200, 8), np.float32), r"expected shape \(200, 16\)"),
        ("items/trending.npy", np.array([3, 200], np.uint32), "expected rows below 200, found 200"),
        ("items/arrivals.npy", np.array([3, 5, 3], np.uint32), "expected distinct rows, found row 3 again"),
        ("items/arrivals.npy", np.array([3, 5], np.int64), "expected uint32, found int64"),
        ("retrieval/default/representatives.npy", np.array([[3]], np.uint32), "expected shape"),
    ],
)
def test_files_of_another_shape_type_or_content_are_refused(
    rich_generation: Generation, tmp_path: Path, file: str, content: np.ndarray, complaint: str
) -> None:
    shutil.copytree(rich_generation.path, tmp_path / "bundle")
    np.save(tmp_path / "bundle" / file, content)
    with pytest.raises(BundleCorrupt, match=complaint):
        opened(tmp_path / "bundle", rich_generation)


def test_an_order_without_rows_is_an_order(rich_generation: Generation, tmp_path: Path) -> None:
    shutil.copytree(rich_generation.path, tmp_path / "bundle")
    np.save(tmp_path / "bundle" / "items/trending.npy", np.empty(0, np.uint32))
    assert len(opened(tmp_path / "bundle", rich_generation).trending_rows) == 0
