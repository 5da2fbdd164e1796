from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.user_tower import UserTower
from tests.bundles import user_tower_path
from twostage.bundle.errors import BundleCorrupt

DIMENSION = 16


@pytest.fixture(scope="module")
def tower() -> UserTower:
    return UserTower(user_tower_path(DIMENSION), DIMENSION, 50)


def in_numpy(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The tower of tests/tiny_models.py, computed again: the vector, and what each entry weighs."""
    generator = np.random.default_rng(7)
    dense = generator.normal(size=(DIMENSION, 8)) / DIMENSION**0.5
    score = generator.normal(size=(8, 1))
    scores = (np.tanh(vectors.astype(np.float64) @ dense) @ score)[:, 0]
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    pooled = weights @ vectors
    return np.asarray(pooled / np.linalg.norm(pooled)), weights


def history(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 49, 50])
def test_answers_what_numpy_does(tower: UserTower, count: int) -> None:
    vectors = history(count)
    np.testing.assert_allclose(tower.encode(vectors), in_numpy(vectors)[0], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 49, 50])
def test_tells_what_each_entry_weighs(tower: UserTower, count: int) -> None:
    vectors = history(count)
    vector, weights = tower.encode_weighing(vectors)
    np.testing.assert_array_equal(vector, tower.encode(vectors))
    assert weights is not None
    np.testing.assert_allclose(weights, in_numpy(vectors)[1], atol=1e-5)


def test_a_tower_of_an_older_bundle_does_not_tell_and_encodes_alike(tower: UserTower) -> None:
    silent = UserTower(user_tower_path(DIMENSION, weighing=False), DIMENSION, 50)
    vector, weights = silent.encode_weighing(history(7))
    assert weights is None
    np.testing.assert_allclose(vector, tower.encode(history(7)), atol=1e-6)


def test_a_longer_history_before_leaves_no_trace(tower: UserTower) -> None:
    short = history(3, seed=1)
    before = tower.encode(short)
    tower.encode(history(50, seed=2))
    np.testing.assert_array_equal(tower.encode(short), before)


def test_an_answer_stays_when_the_next_comes(tower: UserTower) -> None:
    first = tower.encode(history(3))
    kept = first.copy()
    tower.encode(history(3, seed=5))
    np.testing.assert_array_equal(first, kept)


def test_threads_do_not_disturb_each_other(tower: UserTower) -> None:
    histories = [history(1 + seed % 50, seed) for seed in range(200)]
    expected = [tower.encode(vectors) for vectors in histories]
    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(tower.encode, histories))
    np.testing.assert_array_equal(answered, expected)


def test_a_tower_of_another_shape_is_refused() -> None:
    with pytest.raises(BundleCorrupt, match=r"expected .*float32\[1, 50, 8\].*, found .*float32\[1, 50, 16\]"):
        UserTower(user_tower_path(DIMENSION), 8, 50)
    with pytest.raises(BundleCorrupt, match=r"expected .*history_mask float32\[1, 20\]"):
        UserTower(user_tower_path(DIMENSION), DIMENSION, 20)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "user_tower.tflite"
    path.write_bytes(content)
    with pytest.raises(BundleCorrupt, match="expected a LiteRT model"):
        UserTower(path, DIMENSION, 50)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleCorrupt, match="no file"):
        UserTower(tmp_path / "user_tower.tflite", DIMENSION, 50)


def test_a_tower_that_answers_nan_is_refused(tmp_path: Path) -> None:
    """Its weights are overwritten with NaN, as a conversion that loses them does."""
    content = user_tower_path(DIMENSION).read_bytes()
    generator = np.random.default_rng(7)
    generator.normal(size=(DIMENSION, 8))
    score = generator.normal(size=(8, 1)).astype(np.float32).tobytes()
    assert score in content
    path = tmp_path / "user_tower.tflite"
    path.write_bytes(content.replace(score, np.full(8, np.nan, np.float32).tobytes()))
    with pytest.raises(BundleCorrupt, match="NaN"):
        UserTower(path, DIMENSION, 50)
