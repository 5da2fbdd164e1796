"""The models, and a server that serves them: the embedded one, or the one at ``--tfserving-address``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.tfserving.embedded import Caller, running

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the suite's models."""
    root = tmp_path_factory.mktemp("tfserving-models")
    # In a process of its own: TensorFlow would stay in this one.
    subprocess.run([sys.executable, str(_HERE / "export_models.py"), str(root)], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server serves the suite's models."""
    given = request.config.getoption("--tfserving-address")
    if given:
        yield given
        return
    models = request.getfixturevalue("models")
    log = tmp_path_factory.mktemp("tfserving-server") / "log"
    with running([f"--model_config_file={models / 'models.config'}"], log) as process:
        yield process.address()


@pytest.fixture(scope="session")
def caller(address: str) -> Iterator[Caller]:
    asking = Caller(address)
    yield asking
    asking.close()
