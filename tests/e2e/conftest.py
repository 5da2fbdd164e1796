"""A data set and a store that is trained from it, once for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command_line import answered
from twostage.bundle.store import Store


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    answered("data", "synthesize", "--out", str(folder), "--items", "300", "--users", "300", "--seed", "5")
    return folder


@pytest.fixture(scope="session")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    answered("train", "--data", str(data), "--store", str(folder), "--profile", "quick")
    return Store(folder)
