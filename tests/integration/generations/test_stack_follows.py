"""The whole stack follows CURRENT: real processes, publishing and rolling back while people are recommended to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from tests.integration.generations.servers import Callers, publish, until
from twostage.bundle.store import Store
from twostage.client import Client
from twostage.stack import Ports, Stack
from twostage.v1 import gateway_pb2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    publish(folder / "store")
    lines: list[str] = []
    made = Stack(
        Store(folder / "store"),
        ports=Ports.free(),
        users=folder / "users.sqlite",
        on_line=lambda name, line: lines.append(f"{name} {line}"),
        say=lines.append,
    )
    try:
        made.import_histories()
        made.start(120)
        yield made
    finally:
        made.stop()


def held(client: Client) -> dict[str, list[int]]:
    """What each stage holds, the active generation first."""
    return {
        stage.stage: [one.generation for one in sorted(stage.status.generations, key=lambda one: not one.active)]
        for stage in client.status().stages
    }


@pytest.mark.timeout(180)
def test_a_generation_is_published_and_rolled_back_without_a_restart(stack: Stack) -> None:
    path = stack.store.path
    with Client(stack.listeners["gateway"].address, timeout_seconds=5) as client:
        until(lambda: held(client) == {"retrieval": [1], "ranking": [1]})
        callers = Callers(lambda: client.recommend("user-3", count=5))
        with callers.asking():
            publish(path)
            until(lambda: held(client) == {"retrieval": [2, 1], "ranking": [2, 1]}, 60)
            until(lambda: client.recommend("user-3").generation == 2)
            Store(path).set_current(1)
            until(lambda: held(client) == {"retrieval": [1, 2], "ranking": [1, 2]})
            until(lambda: client.recommend("user-3").generation == 1)
        assert callers.errors == []
        assert {answer.rung for answer in callers.responses} == {gateway_pb2.RUNG_FULL}
        assert callers.generations == {1, 2}
        assert {len(answer.recommendations) for answer in callers.responses} == {5}


def test_the_histories_of_a_new_generation_are_imported_once(stack: Stack) -> None:
    def imports() -> int:
        with sqlite3.connect(stack.users) as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM imports WHERE finished").fetchone()
        connection.close()
        return int(count)

    before = imports()
    publish(stack.store.path)
    until(lambda: imports() == before + 1)
