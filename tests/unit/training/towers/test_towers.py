from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.user_tower import UserTower
from tests.unit.training.tiny_dataset import tiny_dataset
from training import runtime
from training.config import TowerConfig
from training.errors import ExportMismatch
from training.features.content import encode_catalogue
from training.towers import export
from training.towers.export import export_item_tower, user_tower_to_litert
from training.towers.item_tower import build_item_tower, encode_items
from training.towers.user_tower import build_user_tower, encode_users
from twostage.features.history import HISTORY_LENGTH
from twostage.features.item_encoding import EncodingConfig

runtime.make_deterministic(0)


def _histories(lengths: list[int], size: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = rng.integers(0, 30, (len(lengths), HISTORY_LENGTH))
    mask = (np.arange(HISTORY_LENGTH) < np.array(lengths)[:, None]).astype(np.float32)
    return vectors, rows, mask


def test_the_user_tower_is_attention_over_the_history_alone() -> None:
    tower = build_user_tower(TowerConfig(vector_size=16, attention_size=8))
    rng = np.random.default_rng(1)
    tower.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in tower.get_weights()])
    hidden, bias, score = tower.get_weights()
    vectors, rows, mask = _histories([3, 50], 16)
    for person, length in enumerate([3, 50]):
        own = vectors[rows[person, :length]].astype(np.float64)
        scores = (np.tanh(own @ hidden + bias) @ score)[:, 0]
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = weights @ own
        found = encode_users(tower, vectors, rows, mask)[person]
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_an_empty_history_is_a_vector_of_zeros() -> None:
    tower = build_user_tower(TowerConfig(vector_size=16))
    vectors, rows, mask = _histories([0], 16)
    assert not encode_users(tower, vectors, rows, mask).any()


def test_the_user_tower_answers_alike_in_litert(tmp_path: Path) -> None:
    tower = build_user_tower(TowerConfig(vector_size=16, attention_size=8))
    rng = np.random.default_rng(1)
    tower.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in tower.get_weights()])
    hidden, bias, score = tower.get_weights()
    vectors, rows, mask = _histories([3, 50], 16)
    path = tmp_path / "user_tower.tflite"
    path.write_bytes(user_tower_to_litert(tower, vectors))
    served = UserTower(path, 16, HISTORY_LENGTH)
    for person, length in enumerate([3, 50]):
        own = vectors[rows[person, :length]]
        vector, weights = served.encode_weighing(own)
        np.testing.assert_allclose(vector, encode_users(tower, vectors, rows, mask)[person], atol=1e-5)
        scores = (np.tanh(own.astype(np.float64) @ hidden + bias) @ score)[:, 0]
        assert weights is not None
        np.testing.assert_allclose(weights, np.exp(scores) / np.exp(scores).sum(), atol=1e-5)


def test_a_conversion_that_answers_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = build_user_tower(TowerConfig(vector_size=16))
    vectors, _, _ = _histories([1], 16)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportMismatch, match="user_vector of the user tower in LiteRT"):
        user_tower_to_litert(tower, vectors)


def test_item_vectors_have_unit_length_and_depend_on_content_alone() -> None:
    catalogue = tiny_dataset().catalogue
    encoder, items = encode_catalogue(catalogue, EncodingConfig())
    tower = build_item_tower(encoder, TowerConfig(vector_size=16))
    vectors = encode_items(tower, items, batch_size=64)
    assert vectors.shape == (150, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    some = np.array([140, 3])
    np.testing.assert_allclose(encode_items(tower, items.take(some)), vectors[some], atol=1e-6)


def test_every_kind_of_content_moves_the_vector() -> None:
    encoder, items = encode_catalogue(tiny_dataset().catalogue, EncodingConfig())
    tower = build_item_tower(encoder, TowerConfig(vector_size=16))
    one = items.take(np.array([1]))
    vector = encode_items(tower, one)
    other = items.take(np.array([4]))
    for name in one.arrays():
        changed = type(one)(**{**one.arrays(), name: other.arrays()[name]})
        assert np.abs(encode_items(tower, changed) - vector).max() > 1e-5, name


def test_the_exported_item_tower_encodes_alike(tmp_path: Path) -> None:
    encoder, items = encode_catalogue(tiny_dataset().catalogue, EncodingConfig())
    tower = build_item_tower(encoder, TowerConfig(vector_size=16))
    export_item_tower(tower, tmp_path / "1", items)
    assert (tmp_path / "1" / "saved_model.pb").is_file()
