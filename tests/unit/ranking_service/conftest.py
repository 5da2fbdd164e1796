from __future__ import annotations

from pathlib import Path

import pytest

from ranking_service.engine.engine import RankingEngine
from tests.unit.ranking_service.catalogue import publish


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> RankingEngine:
    return RankingEngine.open(publish(tmp_path_factory.mktemp("ranking") / "store").open())


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store"
