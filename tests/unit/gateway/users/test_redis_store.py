from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from gateway.users import redis_records
from gateway.users.opening import UsersAccess, open_user_store
from gateway.users.redis_store import RedisUserStore, user_key
from gateway.users.store import NewEvent, UserStore, UserStoreUnavailable
from tests.redis_server import FORGETFUL, RedisServer, needs_redis
from tests.unit.gateway.users.redis_access import CALM, RULE, event, link, until

pytestmark = needs_redis


@pytest.mark.parametrize("spoil", ["string", "list"])
def test_a_key_that_holds_something_else_is_unavailable_and_can_be_deleted(
    server: RedisServer, store: RedisUserStore, spoil: str
) -> None:
    with server.client() as client:
        if spoil == "string":
            client.set(user_key("ann"), b"garbage")
        else:
            client.rpush(user_key("ann"), b"garbage")
    with pytest.raises(UserStoreUnavailable, match="WRONGTYPE"):
        store.read("ann", RULE)
    with pytest.raises(UserStoreUnavailable, match="WRONGTYPE"):
        store.record([event(1, "bob"), event(1)])
    assert store.read("bob", RULE) is None, "all or none"
    # It answered, so the others are asked about.
    assert store.record([event(1, "bob")]) == 1
    assert store.forget("ann") == 0
    assert store.record([event(1)]) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"no record at all",
        b"\xff",
        b"\xff\xfe\xfe\xfe",
        b"\xffi1",
        b"\xffi1\xferated\xfefour\xfe5",
        b"\xffi1\xferated\xfe4\xfesoon",
        b"\xffi1\xferated\xfe4\xfe5\xfemore",
        b"\xff\xc3\x28\xferated\xfe4\xfe5",
        bytes(range(256)),
    ],
)
def test_records_that_cannot_be_read_are_left_out_and_counted(
    server: RedisServer, store: RedisUserStore, unreadable: list[int], garbage: bytes
) -> None:
    store.record([event(1), event(2)])
    with server.client() as client:
        whole = client.hget(user_key("ann").decode(), "e")
        assert isinstance(whole, bytes)
        client.hset(user_key("ann").decode(), "e", whole + garbage)
    stored = store.read("ann", RULE)
    assert stored is not None
    # Bytes without a beginning belong to the record before them.
    untouched = ["i1", "i2"] if garbage.startswith(b"\xff") else ["i1"]
    assert [e.item_id for e in stored.taste][: len(untouched)] == untouched
    assert {"i1", "i2"} <= set(stored.seen_item_ids)
    assert sum(unreadable) >= 1
    assert store.describe("ann", 10) is not None
    assert store.record([event(1), event(2), event(3)]) == 1
    assert "i3" in [e.item_id for e in store.describe("ann", 10).events]  # type: ignore[union-attr]
    for field in ("i", "n", "h", "m"):
        with server.client() as client:
            client.hset(user_key("ann").decode(), field, garbage)
        store.read("ann", RULE)
        store.describe("ann", 10)
        store.record([event(4)])
    assert store.forget("ann") is not None


def test_each_operation_takes_one_round_trip(server: RedisServer, store: RedisUserStore) -> None:
    # Few enough that Redis need not read twice for one message.
    people = [event(number, f"person-{number % 10}") for number in range(20)]
    store.record(people)
    store.forget("nobody")
    operations: list[Callable[[], object]] = [
        lambda: store.read("person-1", RULE),
        lambda: store.record(people),
        lambda: store.describe("person-1", 10),
        lambda: store.forget("person-1"),
    ]
    with server.client() as client:
        for operation in operations:
            before = reads(client)
            operation()
            # One read is that of the question itself.
            assert reads(client) - before == 2


def reads(client: redis.Redis) -> int:
    """How many times Redis read from a connection so far."""
    return int(client.info("stats")["total_reads_processed"])  # type: ignore[index]


def test_memory_that_is_full_refuses_events_and_stores_none_of_them() -> None:
    with RedisServer([*FORGETFUL, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]) as server:
        store = open_user_store(UsersAccess(server.url, timeout_seconds=CALM))

        def fill() -> None:
            for batch in range(1_000):
                store.record([event(batch * 500 + number, f"person-{batch % 100}") for number in range(500)])

        with pytest.raises(UserStoreUnavailable, match="maxmemory"):
            fill()
        stored = [store.describe(f"person-{batch}", 0) for batch in range(100)]
        counts = {record.event_count % 500 for record in stored if record is not None}
        assert counts == {0}, "a batch is stored whole or not at all"
        # Removing people is not refused, and makes room.
        assert all(store.forget(f"person-{batch}") for batch in range(50))
        until(lambda: records(store, event(10**6)))
        store.close()


def records(store: UserStore, new: NewEvent) -> bool:
    try:
        store.record([new])
    except UserStoreUnavailable:
        return False
    return True


def test_a_replica_that_takes_no_writes_says_so(server: RedisServer) -> None:
    with RedisServer([*FORGETFUL, "--replicaof", "127.0.0.1", str(server.port)]) as replica:
        store = RedisUserStore(link(replica.port))

        def refuses() -> bool:
            with pytest.raises(UserStoreUnavailable) as refused:
                store.record([event(1)])
            return "read only" in str(refused.value).lower() or "readonly" in str(refused.value).lower()

        until(refuses)
        store.close()


def test_what_redis_says_is_told_without_the_person() -> None:
    renamed = ["--rename-command", "EVALSHA", "", "--rename-command", "HMGET", ""]
    with RedisServer([*FORGETFUL, *renamed]) as server:
        store = RedisUserStore(link(server.port))
        for fails in (lambda: store.read("mrs-remarkable", RULE), lambda: store.record([event(1, "mrs-remarkable")])):
            with pytest.raises(UserStoreUnavailable, match="unknown command") as refused:
                fails()
            assert "remarkable" not in str(refused.value)
        store.close()


def test_numbers_are_written_short_and_read_back_alike() -> None:
    record = redis_records.event_record("i", "rated", 4.0, 1_700_000_000)
    assert record == b"\xffi\xferated\xfe4\xfe1700000000"
    assert redis_records.event_record("i", "rated", float("nan"), 0) == b"\xffi\xferated\xfe\xfe0"
