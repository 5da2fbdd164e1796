"""A small generation, the one after it, and a user store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from tests.unit.gateway.catalogue import publish_items
from tests.unit.gateway.stages import RANKERS, TAGS
from twostage.bundle.generation import Generation


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[float(row) for row in range(40)], tags=TAGS, rankers=RANKERS)


@pytest.fixture(scope="module")
def newer(generation: Generation) -> Generation:
    """The generation after, in which half of the items are gone and so is a ranker."""
    store = generation.path.parent.parent
    return publish_items(
        store, popularity=[float(row) for row in range(20)], tags=TAGS[:20], rankers={"content": ["liked"]}
    )


@pytest.fixture
def users(tmp_path: Path) -> Iterator[SqliteUserStore]:
    """Ann liked i39, disliked i38, and wanted to read something that no generation has."""
    store = SqliteUserStore(tmp_path / "users.sqlite")
    store.record(
        [
            NewEvent("e1", "ann", "i39", "rated", 5.0, 10),
            NewEvent("e2", "ann", "i38", "rated", 1.0, 20),
            NewEvent("e3", "ann", "vanished", "to_read", None, 30),
        ]
    )
    yield store
    store.close()


@pytest.fixture
def broken_users(tmp_path: Path) -> Iterator[SqliteUserStore]:
    """A store whose file was overwritten while it was open."""
    path = tmp_path / "broken.sqlite"
    store = SqliteUserStore(path)
    for file in path.parent.glob("broken.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    yield store
    store.close()
