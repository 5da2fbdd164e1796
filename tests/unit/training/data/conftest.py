"""Finds the real data sets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Gives the folder of a real data set, or skips the test."""

    def find(name: str) -> Path:
        root = os.environ.get("TWOSTAGE_TEST_DATA")
        if not root or not (Path(root) / name).is_dir():
            pytest.skip(f"needs {name} in the directory that TWOSTAGE_TEST_DATA names")
        return Path(root) / name

    return find
