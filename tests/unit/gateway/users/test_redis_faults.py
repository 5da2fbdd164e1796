from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.users.location import RedisAddress
from gateway.users.opening import UsersAccess, open_import_target, open_user_store
from gateway.users.redis_link import RedisLink
from gateway.users.redis_store import RedisUserStore
from gateway.users.store import UserStore, UserStoreUnavailable
from tests.ports import free_port
from tests.redis_server import FORGETFUL, RedisServer, needs_redis
from tests.unit.gateway.users.redis_access import CALM, RULE, event, link, until

pytestmark = needs_redis


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
