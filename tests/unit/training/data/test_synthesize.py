from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data import synthesize as module
from training.data.dataset import Dataset
from training.data.read import read_dataset
from training.data.split import split
from training.data.synthesize import CUT, synthesize


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A data set of 2,000 items and 1,500 people."""
    return read_dataset(synthesize(tmp_path_factory.mktemp("made"), 2_000, 1_500, 30_000, seed=3))


def test_the_sizes_are_those_asked_for(made: Dataset) -> None:
    assert len(made.catalogue) == 2_000
    assert len(made.interactions.user_ids) == 1_500
    # Repeats were dropped from about 30,000.
    assert 24_000 < len(made.interactions) <= 32_000


def test_items_have_titles_tags_authors_languages_and_years(made: Dataset) -> None:
    columns = made.catalogue.columns

    assert all(made.catalogue.titles())
    assert len(set(made.catalogue.titles())) > 1_000
    assert all(columns["authors"].to_pylist())
    assert 1 < np.mean([len(tags) for tags in columns["tags"].to_pylist()]) < 4
    assert set(columns["language"].to_pylist()) == {"en", "fr", "de", "es"}
    assert 1800 < min(columns["year"].to_pylist()) <= max(columns["year"].to_pylist()) == 2024


def test_popularity_is_skewed(made: Dataset) -> None:
    counts = np.sort(np.bincount(made.interactions.rows, minlength=2_000))[::-1]

    assert counts[:200].sum() > 0.25 * counts.sum()
    assert counts[-200:].sum() < 0.05 * counts.sum()


def test_every_action_happens_and_the_split_by_time_fills_all_parts(made: Dataset) -> None:
    done = made.interactions
    shares = [made.actions.label(n, done.recorded, done.actions, done.values).mean() for n in made.actions.names]
    parts = split(made)

    assert min(shares) > 0.1
    assert made.split_rule.cut == CUT
    assert min(parts.train.mean(), 1.0) > 0.6
    assert parts.validation.mean() > 0.04
    assert parts.test.mean() > 0.05


def test_content_tells_taste(made: Dataset) -> None:
    """People's held-out taste shares more tags with their other taste than the catalogue does at large."""
    done = made.interactions
    taste = made.actions.taste_mask(done.recorded, done.actions, done.values)
    parts = split(made)
    tags = made.catalogue.columns["tags"].to_pylist()
    names = sorted({tag for item in tags for tag in item})
    matrix = np.zeros((len(tags), len(names)))
    for row, item in enumerate(tags):
        matrix[row, [names.index(tag) for tag in item]] = 1
    before = np.zeros((len(done.user_ids), len(names)))
    known = taste & ~parts.test
    np.add.at(before, done.users[known], matrix[done.rows[known]])
    later = np.flatnonzero(taste & parts.test)
    random = np.random.default_rng(0)
    wanted = (before[done.users[later]] * matrix[done.rows[later]]).sum(axis=1)
    others = (before[done.users[later]] * matrix[random.integers(0, len(tags), len(later))]).sum(axis=1)

    assert np.mean(wanted > others) > 3 * np.mean(wanted < others)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        synthesize(tmp_path / name, 200, 50, seed=seed, image_dim=4) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert read_dataset(first).fingerprint == read_dataset(again).fingerprint != read_dataset(other).fingerprint


def test_chunks_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ITEMS_PER_CHUNK", 30)
    monkeypatch.setattr(module, "_INTERACTIONS_PER_CHUNK", 100)

    dataset = read_dataset(synthesize(tmp_path, 100, 40, 400, image_dim=3))

    assert dataset.catalogue.item_ids == [f"i{row:07d}" for row in range(100)]
    assert dataset.interactions.user_ids == [f"u{user:07d}" for user in range(40)]
    assert dataset.catalogue.columns["image"].type.list_size == 3


def test_one_item_and_one_person_are_enough(tmp_path: Path) -> None:
    dataset = read_dataset(synthesize(tmp_path, 1, 1, 1))

    assert (len(dataset.catalogue), len(dataset.interactions)) == (1, 1)


@pytest.mark.parametrize(
    ("sizes", "name"), [((0, 1), "item_count"), ((1, 0), "user_count"), ((1, 1, 0), "interaction")]
)
def test_a_size_out_of_range_is_named(tmp_path: Path, sizes: tuple[int, ...], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        synthesize(tmp_path, *sizes)
