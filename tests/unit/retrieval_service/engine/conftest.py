from __future__ import annotations

import pytest

from retrieval_service.engine.engine import RetrievalEngine
from tests.bundles import make_store
from twostage.bundle.generation import Generation

SHARES = {"interest_vectors": 0.15, "neighbours": 0.1, "trending": 0.05, "of a newer program": 0.5}


@pytest.fixture(scope="session")
def rich_generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    """The same items with all that optional sources read."""
    path = tmp_path_factory.mktemp("rich") / "store"
    return make_store(path, with_sources=True, source_shares=SHARES).open()


@pytest.fixture(scope="session")
def rich_engine(rich_generation: Generation) -> RetrievalEngine:
    return RetrievalEngine.open(rich_generation)
