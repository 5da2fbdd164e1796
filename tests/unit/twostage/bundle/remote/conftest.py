"""A remote store, somebody who publishes to it and somebody who reads."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small_generation import publish_small
from tests.unit.twostage.bundle.remote.stores import FILES, MODEL
from twostage.bundle.open_store import open_store
from twostage.bundle.remote_store import RemoteStore

pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid.uuid4().hex}/store" if request.param == "memory" else f"file://{tmp_path}/remote"


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Callable[[str], RemoteStore]:
    """Opens the store with a cache of the given name."""

    def open_(cache: str) -> RemoteStore:
        store = open_store(url, cache=tmp_path / cache)
        assert isinstance(store, RemoteStore)
        return store

    return open_


@pytest.fixture
def author(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    """Who has published generation 1."""
    store = opened("author")
    publish_small(store, files=FILES, model_files=MODEL)
    return store


@pytest.fixture
def reader(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    return opened("reader")
