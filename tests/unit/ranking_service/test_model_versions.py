from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from ranking_service.model_versions import ModelVersions
from tests.unit.ranking_service.catalogue import publish
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.store import Store
from twostage.generations.model_config import ModelConfigFile


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for _ in range(4):
        store = publish(tmp_path / "store")
        (store.models_path / "main" / str(store.current())).mkdir(parents=True)
    return store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(store: Store, tmp_path: Path) -> ModelConfigFile:
    return ModelConfigFile(tmp_path / "models.config", store)


@pytest.fixture
def logger() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
def versions(file: ModelConfigFile, clock: Clock, logger: CapturingLogger) -> ModelVersions:
    return ModelVersions(file, 10.0, logger, clock)


def test_at_the_start_the_one_before_is_named_too_where_it_can_be(
    versions: ModelVersions, file: ModelConfigFile, store: Store
) -> None:
    versions.require(2, frozenset(), 1)
    assert file.needed == {1, 2}
    (store.models_path / "main" / "3").rmdir()
    versions.require(4, frozenset(), 3)
    assert file.needed == {4}


def test_a_version_that_dropped_out_stays_named_for_a_while(
    versions: ModelVersions, file: ModelConfigFile, clock: Clock
) -> None:
    versions.require(3, frozenset({1, 2}))
    assert file.needed == {1, 2, 3}
    for second, needed in ((0, {1, 2, 3}), (9.9, {1, 2, 3}), (10, {2, 3}), (11, {2, 3})):
        clock.seconds = second
        versions.tend(frozenset({2, 3}))
        assert file.needed == needed


def test_three_are_named_even_when_one_swap_follows_another_at_once(
    versions: ModelVersions, file: ModelConfigFile
) -> None:
    versions.require(3, frozenset({1, 2}))
    versions.tend(frozenset({2, 3}))
    versions.require(4, frozenset({2, 3}))
    assert file.needed == {2, 3, 4}


def test_a_refused_version_is_let_go_of(versions: ModelVersions, file: ModelConfigFile, clock: Clock) -> None:
    versions.tend(frozenset({1, 2}))
    versions.require(3, frozenset({1, 2}))
    clock.seconds = 60.0
    versions.tend(frozenset({1, 2}))
    assert file.needed == {1, 2}


def test_a_model_that_is_not_there_is_refused(versions: ModelVersions, file: ModelConfigFile, store: Store) -> None:
    versions.require(1, frozenset())
    (store.models_path / "main" / "3").rmdir()
    with pytest.raises(BundleCorrupt, match="expected a SavedModel, found no folder"):
        versions.require(3, frozenset({1}))
    assert file.needed == {1}


def test_a_config_that_cannot_be_written_is_told_once_until_it_can(
    versions: ModelVersions, file: ModelConfigFile, logger: CapturingLogger
) -> None:
    versions.require(1, frozenset())
    aside = file.path.with_name("aside")
    file.path.unlink()
    file.path.mkdir()
    for _ in range(3):
        versions.tend(frozenset({1}))
    assert [call.args[0] for call in logger.calls] == ["the model server's config cannot be kept"]
    file.path.rename(aside)
    versions.tend(frozenset({1}))
    assert "versions: 1" in file.path.read_text()
