from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.engine.taste import TasteRule
from gateway.users import redis_records
from gateway.users.location import RedisAddress
from gateway.users.opening import UsersAccess, open_import_target, open_user_store
from gateway.users.redis_link import RedisLink
from gateway.users.redis_store import RedisUserStore, user_key
from gateway.users.store import NewEvent, UserStore, UserStoreUnavailable
from tests.ports import free_port
from tests.redis_server import FORGETFUL, RedisServer, needs_redis
from tests.unit.gateway.catalogue import SCHEMA

RULE = TasteRule(SCHEMA)
# Patience for a busy machine where a test is not about time.
CALM = 10.0

pytestmark = needs_redis


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


def link(port: int, **options: Any) -> RedisLink:
    return RedisLink(RedisAddress("127.0.0.1", port), **{"timeout_seconds": CALM, **options})


def event(number: int, user_id: str = "ann") -> NewEvent:
    return NewEvent(f"e{number}", user_id, f"i{number}", "to_read", None, number)


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


def test_a_store_that_was_killed_and_started_again_is_used_again(tmp_path: Path) -> None:
    with RedisServer() as server:
        store = RedisUserStore(link(server.port))
        store.record([event(1)])
        server.kill()
        with pytest.raises(UserStoreUnavailable):
            store.read("ann", RULE)
        server.start()
        until(lambda: answers(store))
        # Scripts are gone with the server that knew them.
        assert store.record([event(1)]) == 1
        # A connection that went stale while nobody was out is opened anew, at once.
        server.kill()
        server.start()
        assert store.record([event(2)]) == 1
        store.close()


def answers(store: UserStore) -> bool:
    try:
        store.read("ann", RULE)
    except UserStoreUnavailable:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_hangs_costs_a_timeout_once_and_then_nothing_for_a_while(server: RedisServer) -> None:
    refusals: list[None] = []
    store = RedisUserStore(link(server.port, timeout_seconds=0.3, on_refusal=lambda: refusals.append(None)))
    store.record([event(1)])
    server.pause()
    try:
        start = time.monotonic()
        with pytest.raises(UserStoreUnavailable, match="Timeout"):
            store.read("ann", RULE)
        first = time.monotonic() - start
        start = time.monotonic()
        for _ in range(100):
            with pytest.raises(UserStoreUnavailable, match="a moment ago"):
                store.read("ann", RULE)
            if time.monotonic() - start > 0.3:
                break
        assert 0.25 < first < 1.5
        assert len(refusals) >= 5
    finally:
        server.resume()
    until(lambda: answers(store))
    store.close()


class BreakingProxy:
    """Passes connections on to a port, and breaks those off that ask for what it waits for, so many times."""

    def __init__(self, port: int, word: bytes, count: int) -> None:
        self._target, self._word, self.left = port, word, count
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone would not wake the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass, args=(client, server, self._word), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, None), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, word: bytes | None) -> None:
        with source, target, suppress(OSError):
            while block := source.recv(65_536):
                if word is not None and word in block and self.left:
                    self.left -= 1
                    break
                target.sendall(block)
            for each in (source, target):
                each.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("count", [1, 2])
def test_a_connection_that_is_lost_is_opened_anew_once_for_what_may_be_done_twice(
    server: RedisServer, store: RedisUserStore, count: int
) -> None:
    store.record([event(1), event(2)])
    operations: list[tuple[bytes, Callable[[RedisUserStore], object]]] = [
        (b"HMGET", lambda through: through.read("ann", RULE)),
        (b"EVALSHA", lambda through: through.record([event(3)])),
        (b"EVALSHA", lambda through: through.describe("ann", 5)),
    ]
    for word, operation in operations:
        proxy = BreakingProxy(server.port, word, count)
        through = RedisUserStore(link(proxy.port))
        if count == 1:
            assert operation(through)
        else:
            with pytest.raises(UserStoreUnavailable):
                operation(through)
        assert proxy.left == 0
        through.close()
        proxy.close()


def test_a_removal_whose_answer_is_lost_is_not_done_twice(server: RedisServer, store: RedisUserStore) -> None:
    store.record([event(1)])
    proxy = BreakingProxy(server.port, b"EVALSHA", 1)
    through = RedisUserStore(link(proxy.port))
    with pytest.raises(UserStoreUnavailable):
        through.forget("ann")
    until(lambda: answers(through))
    assert through.forget("ann") == 1
    through.close()
    proxy.close()


def test_nobody_there_is_told_at_once() -> None:
    store = RedisUserStore(link(free_port(), timeout_seconds=1.0))
    start = time.monotonic()
    with pytest.raises(UserStoreUnavailable):
        store.record([event(1)])
    assert time.monotonic() - start < 0.9
    store.close()


def test_more_callers_than_connections_wait_no_longer_than_the_timeout(server: RedisServer) -> None:
    narrow = link(server.port, timeout_seconds=0.2, connection_count=1)
    inside, leave = threading.Event(), threading.Event()

    def hold(_client: object) -> None:
        inside.set()
        leave.wait(20)

    holder = threading.Thread(target=lambda: narrow.run(hold))
    holder.start()
    assert inside.wait(20)
    with pytest.raises(UserStoreUnavailable, match="all connections are in use"):
        narrow.run(lambda client: client.execute_command("PING"))
    leave.set()
    holder.join()
    assert narrow.run(lambda client: client.execute_command("PING"))
    narrow.close()


def test_a_server_that_is_no_redis_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        store = RedisUserStore(link(listener.getsockname()[1], timeout_seconds=2.0))
        with pytest.raises(UserStoreUnavailable):
            store.read("ann", RULE)
        store.close()


def test_a_store_opens_while_redis_is_down_and_fills_when_it_comes(server: RedisServer) -> None:
    with RedisServer() as late:
        late.kill()
        store = open_user_store(UsersAccess(late.url, timeout_seconds=CALM))
        with pytest.raises(UserStoreUnavailable):
            store.read("ann", RULE)
        late.start()
        until(lambda: answers(store))
        store.close()


def test_a_wrong_or_missing_password_is_told_at_the_start(tmp_path: Path) -> None:
    with RedisServer([*FORGETFUL, "--requirepass", "open-sesame"]) as server:
        with pytest.raises(UserStoreUnavailable, match=r"(?i)authentication"):
            open_user_store(UsersAccess(server.url, timeout_seconds=CALM))
        with pytest.raises(UserStoreUnavailable, match=r"(?i)invalid") as refused:
            open_user_store(UsersAccess(server.url, password="wrong-secret", timeout_seconds=CALM))
        assert "wrong-secret" not in str(refused.value)
        secret = tmp_path / "password"
        secret.write_text("open-sesame\n")
        for access in (
            UsersAccess(server.url, password="open-sesame", timeout_seconds=CALM),
            UsersAccess(server.url, password_file=secret, timeout_seconds=CALM),
        ):
            store = open_user_store(access)
            store.record([event(1)])
            assert store.read("ann", RULE) is not None
            store.close()
            open_import_target(access).close()
        with pytest.raises(UserStoreUnavailable, match="users_password_file: expected a readable file"):
            open_user_store(UsersAccess(server.url, password_file=tmp_path / "nowhere"))


def test_tls_checks_the_servers_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "redis.crt", tmp_path / "redis.key"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made = subprocess.run(
        [
            *request,
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "2",
            "-subj",
            "/CN=t",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    with RedisServer([*FORGETFUL, *tls, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]):
        url = f"rediss://127.0.0.1:{port}/0"
        store = open_user_store(UsersAccess(url, ca_file=certificate, timeout_seconds=CALM))
        assert store.record([event(1)]) == 1
        store.close()
        stranger = RedisUserStore(RedisLink(RedisAddress("127.0.0.1", port, tls=True), timeout_seconds=CALM))
        with pytest.raises(UserStoreUnavailable, match=r"(?i)certificate"):
            stranger.read("ann", RULE)
        stranger.close()


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
