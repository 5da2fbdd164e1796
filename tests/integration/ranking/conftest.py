from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bundles import make_store
from tests.integration.ranking.processes import ModelServerProcess, RankingProcess, Start
from tests.integration.ranking.reference import ITEM_COUNT, add_golden
from twostage.bundle.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_store(tmp_path_factory.mktemp("ranking") / "store", item_count=ITEM_COUNT, with_models=True)
    add_golden(store.generations_path / "1")
    return store


@pytest.fixture(scope="module")
def model_server(store: Store) -> Iterator[ModelServerProcess]:
    server = ModelServerProcess(store)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def service(store: Store, model_server: ModelServerProcess) -> Iterator[RankingProcess]:
    process = RankingProcess.start(store.path, model_server.address, "--port", "0")
    try:
        process.wait_serving()
        yield process
    finally:
        process.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def run(store: Path, model_server: str, *arguments: str) -> RankingProcess:
            process = RankingProcess.start(store, model_server, *arguments)
            stack.callback(process.stop)
            return process

        yield run


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Store:
    """The store's copy, to be damaged."""
    shutil.copytree(store.path, tmp_path / "store")
    return Store(tmp_path / "store")
