"""Options of the whole suite."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

# Read when gRPC is loaded: its fork handlers now and then abort a child that a test starts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import pytest
import structlog


@pytest.fixture(scope="module", autouse=True)
def _logging_as_ever() -> Iterator[None]:
    """A service that a file's tests built in this process set the level and the stream for all files after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


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
