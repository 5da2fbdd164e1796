"""A data set and a store that is trained from it, once for all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command_line import answered
from tests.once import made_once
from twostage.bundle.store import Store


def _train(folder: Path) -> None:
    data = folder / "data"
    answered("data", "synthesize", "--out", str(data), "--items", "300", "--users", "300", "--seed", "5")
    # What ``twostage train`` starts, for fewer steps: the quick profile takes minutes of processor time.
    command = [sys.executable, "-m", "tests.e2e.short_training", "train", "--data", str(data), "--profile", "quick"]
    done = subprocess.run(
        [*command, "--store", str(folder / "store")], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "trained", _train)


@pytest.fixture(scope="session")
def data(trained: Path) -> Path:
    return trained / "data"


@pytest.fixture(scope="module")
def store(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    copy = tmp_path_factory.mktemp("store") / "store"
    shutil.copytree(trained / "store", copy)
    return Store(copy)
