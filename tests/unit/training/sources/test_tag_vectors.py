from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import TagConfig
from training.sources.tag_vectors import TagVectors, encode_tags
from twostage.bundle.id_table import IdTable

_CONFIG = TagConfig(least_item_count=3, most_tag_count=100, draw_count=4)


class _MeanTower:
    """A user tower that means its history, and remembers what it was asked."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self.histories: list[list[int]] = []

    def __call__(self, rows: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        assert rows.shape == mask.shape == (len(rows), 50)
        answers = []
        for history, present in zip(rows, mask, strict=True):
            count = int(present.sum())
            assert present[:count].all(), "padding comes last"
            self.histories.append(history[:count].tolist())
            mean = self.vectors[history[:count]].sum(axis=0)
            answers.append(mean / np.linalg.norm(mean))
        return np.array(answers, np.float32)


def _unit(count: int, size: int = 8, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_a_tag_of_few_items_is_the_towers_answer_to_all_that_carry_it() -> None:
    vectors = _unit(10)
    tags = [["sea", "storm"], ["sea"], ["sea", "sea"], ["storm"], ["land"], [], [], ["storm"], [], []]
    found = encode_tags([tags], np.ones(10), _MeanTower(vectors), _CONFIG, seed=0)
    assert found is not None
    assert found.tags == ["sea", "storm"]
    for tag, carriers in (("sea", [0, 1, 2]), ("storm", [0, 3, 7])):
        mean = vectors[carriers].astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(found.vectors[found.tags.index(tag)], mean / np.linalg.norm(mean), atol=1e-6)
    assert found.vectors.dtype == np.float32


def test_a_value_of_two_attributes_is_one_tag() -> None:
    tower = _MeanTower(_unit(4))
    found = encode_tags([[["sea"], [], [], []], [["sea"], ["sea"], ["sea"], []]], np.ones(4), tower, _CONFIG, seed=0)
    assert found is not None
    assert found.tags == ["sea"]
    assert tower.histories == [[0, 1, 2]]


def test_a_tag_of_many_items_is_drawn_by_the_root_of_popularity() -> None:
    item_count = 400
    popularity = np.zeros(item_count)
    popularity[:200] = 99.9
    config = TagConfig(least_item_count=3, most_tag_count=1, draw_count=200)
    tower = _MeanTower(_unit(item_count))
    found = encode_tags([[["all"]] * item_count], popularity, tower, config, seed=0)
    assert found is not None
    assert len(tower.histories) == 200
    assert all(len(set(history)) == 50 for history in tower.histories)
    popular = np.mean([[row < 200 for row in history] for history in tower.histories])
    # Independently: draws without replacement, with odds of sqrt(100) to sqrt(0.1) for each item.
    rng = np.random.default_rng(1)
    odds = np.where(np.arange(item_count) < 200, 10.0, 0.1**0.5)
    drawn = [rng.choice(item_count, 50, replace=False, p=odds / odds.sum()) for _ in range(200)]
    assert abs(popular - np.mean([rows < 200 for rows in drawn])) < 0.01
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)


def test_only_the_most_carried_tags_have_a_vector_and_ties_stand_by_the_tag() -> None:
    tags = [["b", "a", "c"]] * 3 + [["c"]] + [["rare"]] * 2
    config = TagConfig(least_item_count=3, most_tag_count=2)
    found = encode_tags([tags], np.ones(6), _MeanTower(_unit(6)), config, seed=0)
    assert found is not None
    assert found.tags == ["c", "a"]


def test_the_same_seed_gives_the_same_vectors() -> None:
    tags, popularity = [["all"]] * 120, np.arange(120)
    first, again = (encode_tags([tags], popularity, _MeanTower(_unit(120)), _CONFIG, seed=7) for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_without_tags_or_attributes_there_is_nothing() -> None:
    tower = _MeanTower(_unit(3))
    assert encode_tags([], np.ones(3), tower, _CONFIG, seed=0) is None
    assert encode_tags([[["a"], ["b"], []]], np.ones(3), tower, _CONFIG, seed=0) is None


def test_what_is_written_is_found_again_by_tag(tmp_path: Path) -> None:
    vectors = _unit(2)
    TagVectors(["sea", "Größe"], vectors).write(tmp_path / "tags")
    vocabulary = IdTable.open(tmp_path / "tags/vocabulary")
    assert vocabulary.rows(["Größe", "sea", "land"]).tolist() == [1, 0, -1]
    np.testing.assert_array_equal(np.load(tmp_path / "tags/vectors.npy"), vectors)
