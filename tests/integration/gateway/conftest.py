"""One set of servers for all that is asked of the gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.gateway.servers import Servers, running
from twostage.client import Client


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running(tmp_path_factory.mktemp("gateway")) as servers:
        yield servers


@pytest.fixture(scope="package")
def client(servers: Servers) -> Iterator[Client]:
    with Client(servers.address, timeout_seconds=5) as opened:
        yield opened
    assert not [line for line in servers.lines if "Traceback" in line]
