"""The models, a server that serves them, and what starts servers: see README.md for the options."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.server_process import CommandLauncher, Launcher, PreloadedLauncher, running
from tests.once import made_once

_HERE = Path(__file__).parent
_FLAGS = ("--allow_version_labels_for_unavailable_models=true",)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the suite's models."""

    def export(root: Path) -> None:
        # In a process of its own: TensorFlow would stay in this one.
        subprocess.run([sys.executable, str(_HERE / "export_models.py"), str(root)], check=True, capture_output=True)

    return made_once(tmp_path_factory, "tfserving-models", export)


@pytest.fixture(scope="session")
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Starts servers of the kind that is tested; without one, tests that start servers are skipped."""
    command = request.config.getoption("--model-server-command")
    if command:
        yield CommandLauncher(command)
        return
    if request.config.getoption("--model-server-address"):
        pytest.skip("starts servers of its own: needs --model-server-command beside --model-server-address")
    preloaded = PreloadedLauncher()
    yield preloaded
    preloaded.close()


@pytest.fixture(scope="session")
def embedded(request: pytest.FixtureRequest) -> None:
    """Skips what only the embedded server does, or does otherwise by intention, when another one is tested."""
    for option in ("--model-server-address", "--model-server-command"):
        if request.config.getoption(option):
            pytest.skip(f"what only the embedded server does; {option} names another")


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server serves the suite's models."""
    given = request.config.getoption("--model-server-address")
    if given:
        yield given
        return
    models = request.getfixturevalue("models")
    launcher = request.getfixturevalue("launcher")
    log = tmp_path_factory.mktemp("tfserving-server") / "log"
    with running(launcher, [f"--model_config_file={models / 'models.config'}", *_FLAGS], log) as server:
        yield server.require_listening()


@pytest.fixture(scope="session")
def caller(address: str) -> Iterator[Caller]:
    """Asks the server that serves the suite's models."""
    asking = Caller(address)
    yield asking
    asking.close()
