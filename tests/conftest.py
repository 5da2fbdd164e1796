"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tfserving-address",
        default=None,
        metavar="HOST:PORT",
        help="ask this model server, which serves what tests/contract/tfserving/export_models.py wrote, "
        "instead of starting the embedded one",
    )
