from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.people import People
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import MAX_KEPT_EVENT_COUNT, NewEvent
from twostage.errors import InvalidField, NotReady, UserNotFound
from twostage.v1 import gateway_pb2


@pytest.fixture
def users(tmp_path: Path) -> Iterator[SqliteUserStore]:
    store = SqliteUserStore(tmp_path / "users.sqlite", ttl_seconds=1000, clock=lambda: 5000.25)
    yield store
    store.close()


@pytest.fixture
def dropped() -> list[str]:
    return []


@pytest.fixture
def people(users: SqliteUserStore, dropped: list[str]) -> People:
    users.record(
        [
            NewEvent("a", "ann", "i1", "rated", 4.5, 11, "r1"),
            NewEvent("b", "ann", "i2", "to_read", None, 12),
            *(NewEvent(f"e{number}", "bob", "i1", "to_read", None, number) for number in range(1_100)),
        ]
    )
    return People(users, dropped.append)


def get(user_id: str, count: int | None = None) -> gateway_pb2.GetUserRequest:
    return gateway_pb2.GetUserRequest(user_id=user_id, max_event_count=count)


def test_what_is_stored_is_shown_the_newest_first(people: People) -> None:
    response = people.get(get("ann"))
    assert (response.user_id, response.event_count, response.expire_time.seconds) == ("ann", 2, 6000)
    newest, oldest = response.events
    assert (newest.event_id, newest.item_id, newest.action, newest.time.seconds) == ("b", "i2", "to_read", 12)
    assert (newest.HasField("value"), newest.request_id) == (False, "")
    assert (oldest.event_id, oldest.value, oldest.request_id) == ("a", 4.5, "r1")


@pytest.mark.parametrize(("count", "shown"), [(None, 1_000), (0, 0), (3, 3), (MAX_KEPT_EVENT_COUNT, 1_100)])
def test_no_more_events_are_shown_than_asked_for(people: People, count: int | None, shown: int) -> None:
    response = people.get(get("bob", count))
    assert (response.event_count, len(response.events)) == (1_100, shown)
    assert [event.event_id for event in response.events[:2]] == ["e1099", "e1098"][:shown]


def test_who_is_kept_for_ever_has_no_expiry(tmp_path: Path) -> None:
    store = SqliteUserStore(tmp_path / "other.sqlite")
    store.record([NewEvent("a", "ann", "i1", "rated", 4.5, 11)])
    assert not People(store, lambda _: None).get(get("ann")).HasField("expire_time")
    store.close()


@pytest.mark.parametrize(("user_id", "count", "field"), [("", None, "user_id"), ("x" * 257, 1, "user_id")])
def test_an_id_outside_its_bounds_is_refused(people: People, user_id: str, count: int | None, field: str) -> None:
    with pytest.raises(InvalidField, match=f"{field}: expected 1 to 256 bytes"):
        people.get(get(user_id, count))
    with pytest.raises(InvalidField, match=f"{field}: expected 1 to 256 bytes"):
        people.delete(gateway_pb2.DeleteUserRequest(user_id=user_id))


@pytest.mark.parametrize("count", [-1, MAX_KEPT_EVENT_COUNT + 1])
def test_a_count_outside_its_bounds_is_refused(people: People, count: int) -> None:
    with pytest.raises(InvalidField, match=f"max_event_count: expected 0 to 10000, received {count}"):
        people.get(get("ann", count))


def test_somebody_unknown_is_not_found(people: People, dropped: list[str]) -> None:
    with pytest.raises(UserNotFound):
        people.get(get("nobody"))
    with pytest.raises(UserNotFound):
        people.delete(gateway_pb2.DeleteUserRequest(user_id="nobody"))
    assert dropped == ["nobody"], "an answer to somebody unknown is remembered as well"


def test_who_is_deleted_is_gone_with_the_answers_that_were_remembered(people: People, dropped: list[str]) -> None:
    assert people.delete(gateway_pb2.DeleteUserRequest(user_id="ann")).deleted_event_count == 2
    assert dropped == ["ann"]
    with pytest.raises(UserNotFound):
        people.get(get("ann"))
    with pytest.raises(UserNotFound):
        people.delete(gateway_pb2.DeleteUserRequest(user_id="ann"))
    assert people.get(get("bob")).event_count == 1_100


def test_a_store_that_is_not_there_is_not_ready(people: People, users: SqliteUserStore, dropped: list[str]) -> None:
    users.close()
    with pytest.raises(NotReady, match="cannot be read"):
        people.get(get("ann"))
    with pytest.raises(NotReady, match="cannot be written") as refused:
        people.delete(gateway_pb2.DeleteUserRequest(user_id="ann"))
    assert "users.sqlite" not in str(refused.value), "where it is concerns operators alone"
    assert dropped == ["ann"]
