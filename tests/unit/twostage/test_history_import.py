from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.users.opening import UsersAccess, open_user_store
from tests.bundles import make_store
from tests.redis_server import RedisServer, needs_redis
from tests.unit.gateway.users.histories import write
from twostage import history_import
from twostage.bundle.errors import StoreUnreachable
from twostage.bundle.store import Store
from twostage.history_import import HistoryImport


class FarStore(Store):
    """A store whose histories cannot be fetched the first few times."""

    def __init__(self, path: Path, failure_count: int) -> None:
        super().__init__(path)
        self.failure_count = failure_count
        self.fetched: list[int] = []

    def fetch_histories(self, generation: int) -> None:
        self.fetched.append(generation)
        if len(self.fetched) <= self.failure_count:
            raise StoreUnreachable("s3://far", OSError("no route to host"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_histories_that_could_not_be_fetched_are_fetched_at_a_later_look_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_import, "_LOOK_SECONDS", 0.01)
    make_store(tmp_path)
    store = FarStore(tmp_path, failure_count=3)
    said: list[str] = []
    histories = HistoryImport(store, tmp_path / "users.sqlite", on_line=lambda *_: None, say=said.append)
    histories.follow()
    until(lambda: len(store.fetched) == 4)
    time.sleep(0.1)
    histories.close()
    assert store.fetched == [1, 1, 1, 1]
    assert len(said) == 1
    assert "the histories of generation 1 cannot be fetched" in said[0]


@needs_redis
def test_histories_are_imported_into_redis_too(tmp_path: Path) -> None:
    write(tmp_path / "users" / "1", {"ann": [(3, "rated", 5.0, 10), (4, "to_read", float("nan"), 20)]})
    lines: list[str] = []
    with RedisServer() as redis:
        histories = HistoryImport(
            Store(tmp_path), redis.url, on_line=lambda _, line: lines.append(line), say=lambda _: None
        )
        histories.run(1)
        histories.close()
        users = open_user_store(UsersAccess(redis.url, timeout_seconds=10))
        record = users.describe("ann", 10)
        users.close()
    assert record is not None
    assert [event.item_id for event in record.events] == ["i4", "i3"]
    assert lines[-1].startswith("import: 1 people, 2 events in ")
