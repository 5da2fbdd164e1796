from __future__ import annotations

import pytest

from retrieval_service.engine.engine import RetrievalEngine
from tests.bundles import TinyCatalogue, make_catalogue, make_store
from twostage.bundle.generation import Generation


@pytest.fixture(scope="session")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    return make_store(tmp_path_factory.mktemp("store") / "store").open()


@pytest.fixture(scope="session")
def items() -> TinyCatalogue:
    """What the generation was made of."""
    return make_catalogue()


@pytest.fixture(scope="session")
def engine(generation: Generation) -> RetrievalEngine:
    return RetrievalEngine.open(generation)
