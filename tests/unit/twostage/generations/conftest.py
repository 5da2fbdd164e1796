"""A store of one generation, made of nothing but its manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.twostage.generations.made_store import MadeStore


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    made = MadeStore(tmp_path)
    made.publish(1)
    return made
