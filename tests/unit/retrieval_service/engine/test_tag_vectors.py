from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval_service.engine.tag_vectors import TagVectors
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.id_table import IdTable

VECTORS = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1]], np.float32)
TAGS = ["left", "up", "right", "ñ"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    IdTable.write(tmp_path / "vocabulary", TAGS)
    np.save(tmp_path / "vectors.npy", VECTORS)
    return tmp_path


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["up"], [0, 1, 0]),
        (["left", "up"], [0.5**0.5, 0.5**0.5, 0]),
        (["left", "left", "left", "up", "unknown", ""], [0.5**0.5, 0.5**0.5, 0]),
        (["ñ"], [0, 0, 1]),
        ([f"unknown {number}" for number in range(63)] + ["up"], [0, 1, 0]),
    ],
)
def test_the_mean_of_the_known_tags_has_length_one(folder: Path, tags: list[str], expected: list[float]) -> None:
    vector = TagVectors.open(folder, 3).mean(tags)
    assert vector is not None
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, expected, atol=1e-7)


@pytest.mark.parametrize("tags", [[], ["unknown"], ["left", "right"]], ids=["none", "unknown", "opposite"])
def test_what_means_nothing_has_no_vector(folder: Path, tags: list[str]) -> None:
    assert TagVectors.open(folder, 3).mean(tags) is None


@pytest.mark.parametrize(
    "vectors",
    [VECTORS[:3], VECTORS[:, :2], VECTORS.astype(np.float64)],
    ids=["fewer tags", "another dimension", "another type"],
)
def test_vectors_that_do_not_fit_are_refused(folder: Path, vectors: np.ndarray) -> None:
    np.save(folder / "vectors.npy", vectors)
    with pytest.raises(BundleCorrupt, match=r"vectors\.npy"):
        TagVectors.open(folder, 3)
