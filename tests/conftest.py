"""Options of the whole suite."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read when gRPC is loaded: its fork handlers now and then abort a child that a test starts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import hypothesis
import pytest

from tests.logging_state import logging_restored
from tests.once import share
from tests.scheduling import FolderScheduling, in_order, runs_side_by_side

# What libraries set when they are imported or first used.
_LIBRARIES_SET = ("TF_", "TF2_", "TPU_", "KERAS_", "CUDA_", "KMP_", "OMP_", "GRPC_", "MPL", "ENABLE_", "XLA_")

# An example's time says how busy the machine is.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    share(tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def _logging_as_ever() -> Iterator[None]:
    """A service that a file's tests built in this process set the level and the stream for all files after it."""
    with logging_restored():
        yield


@pytest.fixture(scope="module", autouse=True)
def _process_as_ever() -> Iterator[None]:
    """What a file's tests leave behind in this process is undone for the files after it."""
    folder, interval, environment = Path.cwd(), sys.getswitchinterval(), dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    os.chdir(folder)
    sys.setswitchinterval(interval)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in os.environ.keys() | environment.keys():
        if name.startswith(("PYTEST_", *_LIBRARIES_SET)):
            continue
        if name in environment:
            os.environ[name] = environment[name]
        else:
            del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling | None:
    return FolderScheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if runs_side_by_side():
        items[:] = [items[position] for position in in_order([item.nodeid for item in items])]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--model-server-address",
        default=None,
        metavar="HOST:PORT",
        help="tests/contract/tfserving: ask this model server, which serves what export_models.py there wrote, "
        "instead of starting the embedded one; what needs a server's disk or start is skipped",
    )
    parser.addoption(
        "--model-server-command",
        default=None,
        metavar="COMMAND",
        help="tests/contract/tfserving: start servers by this command, to which flags are appended, e.g. "
        "tensorflow_model_server, instead of the embedded one",
    )
