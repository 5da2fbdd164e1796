"""A Redis of the tests, and a store in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.users.redis_store import RedisUserStore
from tests.redis_server import RedisServer
from tests.unit.gateway.users.redis_access import link


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def unreadable() -> list[int]:
    return []


@pytest.fixture
def store(server: RedisServer, unreadable: list[int]) -> Iterator[RedisUserStore]:
    with server.client() as client:
        client.flushall()
    opened = RedisUserStore(link(server.port), on_unreadable=unreadable.append)
    yield opened
    opened.close()
