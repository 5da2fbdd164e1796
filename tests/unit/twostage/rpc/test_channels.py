from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tests.ports import free_port
from tests.unit.twostage.rpc.echo import ERRORS, call_of, echo_server, failed, register, say_stub
from twostage.errors import NotReady
from twostage.rpc.channels import SERVICE_CONFIG, Replicas, open_plainly
from twostage.rpc.outliers import Outcome, OutlierPolicy, Outliers
from twostage.rpc.server import ServiceServer


@pytest.fixture
def pair() -> Iterator[tuple[ServiceServer, ServiceServer]]:
    with echo_server() as first, echo_server() as second:
        yield first, second


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.01)


def count(server: ServiceServer, code: str = "OK") -> float:
    labels = {"method": "test.Echo/Say", "code": code}
    return server.metrics.registry.get_sample_value("twostage_requests_total", labels) or 0


def ask(replicas: Replicas[Any], text: str = "x") -> str:
    with replicas.pick() as replica:
        return str(replica.stub(StringValue(value=text), timeout=5).value)


def test_idle_replicas_are_asked_in_turn(pair: tuple[ServiceServer, ServiceServer]) -> None:
    with Replicas(",".join(server.address for server in pair), say_stub) as replicas:
        assert [replica.address for replica in replicas.all()] == [server.address for server in pair]
        for _ in range(10):
            ask(replicas)
    assert [count(server) for server in pair] == [5, 5]


def test_the_replica_with_the_least_in_flight_is_asked(pair: tuple[ServiceServer, ServiceServer]) -> None:
    with echo_server() as third:
        servers = [*pair, third]
        with Replicas(",".join(server.address for server in servers), lambda _channel: None) as replicas:
            a, b, c = replicas.all()
            with a, a, b, c, c:
                assert {replicas.pick().address for _ in range(6)} == {b.address}
                assert Counter(replicas.pick(exclude=[b]).address for _ in range(6)) == {a.address: 3, c.address: 3}
            assert [a.in_flight_count, b.in_flight_count, c.in_flight_count] == [0, 0, 0]


def test_only_those_that_hold_a_generation_are_asked_for_it(pair: tuple[ServiceServer, ServiceServer]) -> None:
    with Replicas(",".join(server.address for server in pair), lambda _channel: None, connection_count=2) as replicas:
        new, lagging = replicas.all()
        for connection in replicas.connections():
            assert connection.held is None
            connection.held = frozenset((3, 2) if connection.address == new.address else (2, 1))
        assert len(replicas.connections()) == 4
        assert {replicas.pick(holding=[3]).address for _ in range(8)} == {new.address}
        assert {replicas.pick(holding=[1]).address for _ in range(8)} == {lagging.address}
        # Work in flight and turns decide among those that hold one of several.
        assert set(Counter(replicas.pick(holding=[3, 2]) for _ in range(8)).values()) == {2}
        with new, new:
            assert replicas.pick(holding=[3]).address == new.address
        with pytest.raises(NotReady, match=f"no replica that holds generation 5 or 4 at {replicas.target}"):
            replicas.pick(holding=[5, 4])
        with pytest.raises(NotReady):
            replicas.pick(exclude=[new], holding=[3])
        assert {replicas.pick().address for _ in range(8)} == {new.address, lagging.address}


def test_those_of_which_nothing_is_known_are_asked_when_nobody_is_known_to_hold_it(
    pair: tuple[ServiceServer, ServiceServer],
) -> None:
    with Replicas(",".join(server.address for server in pair), lambda _channel: None) as replicas:
        known, unknown = replicas.all()
        known.held = frozenset([2])
        assert {replicas.pick(holding=[2]) for _ in range(4)} == {known}
        assert {replicas.pick(holding=[3]) for _ in range(4)} == {unknown}
        known.held = None
        assert {replicas.pick(holding=[3]) for _ in range(4)} == {known, unknown}


def test_a_replica_is_forgotten_when_its_connection_goes_down_and_told_of_when_it_is_back() -> None:
    down = echo_server()
    told: list[str] = []
    with echo_server() as up:
        down.start()
        down.set_serving()
        port = down.port
        addresses = f"{down.address},{up.address}"
        with Replicas(addresses, say_stub, on_change=lambda: told.append("change")) as replicas:
            first, second = replicas.all()
            eventually(lambda: len(told) >= 2)
            ask(replicas)
            ask(replicas)
            first.held = second.held = frozenset([1])
            down.stop(0)
            eventually(lambda: first.failing)
            assert [replica.held for replica in replicas.all()] == [None, frozenset([1])]
            before = len(told)
            with echo_server(port=port):
                eventually(lambda: not first.failing)
                eventually(lambda: len(told) > before)


def test_what_a_replica_says_it_holds_is_noted_and_somebody_is_told() -> None:
    told: list[str] = []
    with Replicas("127.0.0.1:1", lambda _channel: None, on_change=lambda: told.append("change")) as replicas:
        (replica,) = replicas.all()
        before = len(told)
        replica.correct([2, 1])
        assert (replica.held, len(told)) == (frozenset([1, 2]), before + 1)
        replica.correct([])
        assert replica.held is None


def test_excluding_every_replica_is_not_ready() -> None:
    with Replicas("a:1", lambda _channel: None) as replicas, pytest.raises(NotReady, match="no replica at a:1"):
        replicas.pick(exclude=replicas.all())


def test_several_connections_to_an_address_take_the_work_in_turn_and_are_one_replica(
    pair: tuple[ServiceServer, ServiceServer],
) -> None:
    with Replicas(",".join(server.address for server in pair), say_stub, connection_count=3) as replicas:
        assert [replica.address for replica in replicas.all()] == [server.address for server in pair]
        picked = [replicas.pick() for _ in range(12)]
        assert set(Counter(picked).values()) == {2}
        first, second = replicas.all()
        assert {replicas.pick(exclude=[picked[0]]).address for _ in range(6)} == (
            {second.address} if picked[0].address == first.address else {first.address}
        )
        with pytest.raises(NotReady):
            replicas.pick(exclude=[first, second])


def test_each_connection_is_one_of_its_own() -> None:
    with echo_server() as server, Replicas(server.address, say_stub, connection_count=4) as replicas:
        # Which of the server's peers a call comes from shows the connection.
        assert len({ask(replicas, "peer") for _ in range(4)}) == 4


def test_an_address_that_leaves_takes_all_its_connections_along(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ["127.0.0.1", "127.0.0.2"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [(2, 1, 6, "", (host, 7)) for host in hosts])
    with Replicas("dns:///retrieval:7", lambda _channel: None, connection_count=3, resolve_seconds=60) as replicas:
        before = set(replicas._replicas)
        assert len(before) == 6
        hosts.remove("127.0.0.1")
        replicas.refresh()
        assert [replica.address for replica in replicas.all()] == ["127.0.0.2:7"]
        after = set(replicas._replicas)
        assert len(after) == 3
        assert after < before


def test_no_connections_are_refused() -> None:
    with pytest.raises(ValueError, match="connection_count: expected at least 1, received 0"):
        Replicas("a:1", lambda _channel: None, connection_count=0)


def test_a_replica_that_is_down_is_skipped_and_taken_again_when_it_is_back() -> None:
    down = echo_server()
    with echo_server() as up:
        down.start()
        down.set_serving()
        port = down.port
        with Replicas(f"{down.address},{up.address}", say_stub) as replicas:
            ask(replicas)
            ask(replicas)
            down.stop(0)
            eventually(lambda: replicas.all()[0].failing)
            before = count(up)
            for _ in range(6):
                ask(replicas)
            assert count(up) == before + 6
            with echo_server(port=port) as back:
                eventually(lambda: not replicas.all()[0].failing)
                for _ in range(6):
                    ask(replicas)
                assert count(back) == 3


def test_when_all_are_down_one_is_asked_all_the_same() -> None:
    with Replicas("127.0.0.1:1,127.0.0.1:2", say_stub) as replicas:
        eventually(lambda: all(replica.failing for replica in replicas.all()))
        error = failed(lambda: ask(replicas))
    assert call_of(error).code() is grpc.StatusCode.UNAVAILABLE


def test_a_name_that_resolves_anew_changes_the_replicas_and_keeps_those_that_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = ["127.0.0.1", "127.0.0.2"]

    def resolve(_host: str, port: int, **_kind: Any) -> list[Any]:
        if not hosts:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

    # Which addresses a name has is the one thing that a test cannot arrange for real.
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with Replicas("dns:///retrieval:7", lambda _channel: None, resolve_seconds=0.02) as replicas:
        stays, _ = replicas.all()
        hosts[:] = ["127.0.0.1", "127.0.0.3"]
        eventually(lambda: [replica.address for replica in replicas.all()] == ["127.0.0.1:7", "127.0.0.3:7"])
        assert replicas.all()[0] is stays
        hosts.clear()
        time.sleep(0.1)
        assert len(replicas.all()) == 2


def test_a_name_that_does_not_resolve_is_not_ready_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with Replicas("dns:///no-such-host.invalid:7", lambda _channel: None, resolve_seconds=60) as replicas:
        with pytest.raises(NotReady, match=r"no replica at dns:///no-such-host\.invalid:7"):
            replicas.pick()
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 7))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_where, **_kind: found)
        replicas.refresh()
        assert replicas.pick().address == "127.0.0.1:7"


def test_a_unix_socket_is_a_replica(tmp_path: Path) -> None:
    from concurrent import futures  # noqa: PLC0415 - only here

    server = grpc.server(futures.ThreadPoolExecutor(2))
    register(server)
    address = f"unix:{tmp_path}/s"
    server.add_insecure_port(address)
    server.start()
    try:
        with Replicas(address, say_stub) as replicas:
            assert ask(replicas, "over a file") == "over a file"
    finally:
        server.stop(0).wait()


def test_only_unavailable_is_tried_again_and_once(pair: tuple[ServiceServer, ServiceServer]) -> None:
    server, _ = pair
    with Replicas(server.address, say_stub) as replicas:
        for name in ERRORS:
            failed(lambda name=name: ask(replicas, name))  # type: ignore[misc]
    codes = ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
    assert [count(server, code) for code in codes] == [1, 3, 2, 1, 2]


def test_retries_end_with_their_budget(pair: tuple[ServiceServer, ServiceServer]) -> None:
    server, _ = pair
    with Replicas(server.address, say_stub) as replicas:
        for _ in range(30):
            failed(lambda: ask(replicas, "NotReady"))
    # Ten tokens, each failure takes one, no retry at five or fewer: far from the sixty without a budget.
    assert 30 < count(server, "UNAVAILABLE") <= 35


def test_retries_can_be_turned_off(pair: tuple[ServiceServer, ServiceServer]) -> None:
    server, _ = pair
    with Replicas(server.address, say_stub, service_config=None) as replicas:
        failed(lambda: ask(replicas, "NotReady"))
    assert count(server, "UNAVAILABLE") == 1


def test_the_service_config_is_json_that_names_the_budget() -> None:
    config = json.loads(SERVICE_CONFIG)
    assert config["retryThrottling"]["maxTokens"] > 0
    assert config["methodConfig"][0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_a_large_message_passes_when_allowed() -> None:
    with echo_server(max_message_bytes=8 * 2**20) as server:
        large = "x" * (6 * 2**20)
        with Replicas(server.address, say_stub, max_message_bytes=8 * 2**20) as replicas:
            assert ask(replicas, large) == large


def test_one_that_is_put_aside_is_asked_once_on_trial_and_else_only_when_there_is_no_other(
    pair: tuple[ServiceServer, ServiceServer],
) -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=3600))
    addresses = ",".join(server.address for server in pair)
    with Replicas(addresses, lambda _channel: None, outliers=outliers) as replicas:
        bad, good = replicas.all()
        for _ in range(5):
            bad.note(Outcome.FAILED)
        assert {replicas.pick() for _ in range(6)} == {good}
        assert replicas.pick(exclude=[good]) is bad
        # Its status is answered again: one request is let through, and no second one before the first has ended.
        bad.note_status(answered=False)
        bad.note_status(answered=True)
        assert [replicas.pick() for _ in range(4)].count(bad) == 1
        bad.note(Outcome.ANSWERED)
        assert {replicas.pick() for _ in range(6)} == {bad, good}


def test_one_that_is_down_is_not_tried(pair: tuple[ServiceServer, ServiceServer]) -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=0.0))
    addresses = ",".join(server.address for server in pair)
    with Replicas(addresses, lambda _channel: None, outliers=outliers) as replicas:
        bad, good = replicas.all()
        for _ in range(5):
            bad.note(Outcome.FAILED)
        pair[0].stop(0)
        eventually(lambda: bad.failing)
        assert {replicas.pick() for _ in range(6)} == {good}


def test_reopening_replaces_every_connection_and_lets_calls_in_flight_end() -> None:
    opened: list[str] = []

    def open_channel(address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        opened.append(address)
        return open_plainly(address, options)

    with (
        echo_server() as server,
        Replicas(server.address, say_stub, connection_count=2, open_channel=open_channel) as replicas,
    ):
        before = replicas.connections()
        slow = before[0].stub.future(StringValue(value="sleep 0.3"), timeout=5)
        replicas.reopen()
        after = replicas.connections()
        assert opened == [server.address] * 4
        assert len(after) == 2
        assert not set(before) & set(after)
        assert ask(replicas) == "x"
        assert slow.result().value == "sleep 0.3"


def test_channels_that_cannot_be_opened_anew_leave_the_old_ones_in_place() -> None:
    broken: list[bool] = []

    def open_channel(address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        if broken:
            raise ValueError("no such certificate")
        return open_plainly(address, options)

    with echo_server() as server, Replicas(server.address, say_stub, open_channel=open_channel) as replicas:
        broken.append(True)
        with pytest.raises(ValueError, match="no such certificate"):
            replicas.reopen()
        assert ask(replicas) == "x"


def test_a_replica_that_was_killed_serves_again_within_seconds_of_its_start() -> None:
    port = free_port()
    command = [sys.executable, "-m", "tests.unit.twostage.rpc.echo"]
    environment = {**os.environ, "TWOSTAGE_ECHO_PORT": str(port), "TWOSTAGE_ECHO_METRICS_PORT": "0"}

    def start() -> subprocess.Popen[bytes]:
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        assert child.stdout.readline()
        return child

    with echo_server() as other:
        child = start()
        try:
            with Replicas(f"127.0.0.1:{port},{other.address}", say_stub) as replicas:
                first = replicas.all()[0]
                assert first.stub(StringValue(value="pid"), timeout=5).value == str(child.pid)
                child.kill()
                child.communicate()
                eventually(lambda: first.failing)
                # Long enough for gRPC to wait its longest between two attempts.
                time.sleep(2.5)
                assert first.failing
                child = start()
                started = time.monotonic()
                eventually(lambda: not first.failing)
                assert time.monotonic() - started < 5
                assert first.stub(StringValue(value="pid"), timeout=5).value == str(child.pid)
        finally:
            child.kill()
            child.communicate()
