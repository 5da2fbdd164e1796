from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.ports import free_port
from tests.unit.twostage.rpc.echo import SERVICE, call_of, connected, echo_server, failed, say_stub
from twostage.rpc.address import AddressUnavailable
from twostage.rpc.server import ServiceServer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def started() -> Iterator[ServiceServer]:
    server = echo_server()
    server.start()
    yield server
    server.stop(0)


def health(channel: grpc.Channel, service: str = "") -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)


def test_health_says_not_serving_until_told_otherwise(started: ServiceServer) -> None:
    with connected(started.address) as channel:
        assert [health(channel), health(channel, SERVICE)] == [NOT_SERVING, NOT_SERVING]
        started.set_serving()
        assert [health(channel), health(channel, SERVICE)] == [SERVING, SERVING]
        started.set_not_serving()
        assert [health(channel), health(channel, SERVICE)] == [NOT_SERVING, NOT_SERVING]


def test_a_process_that_works_is_alive_whether_or_not_it_serves(started: ServiceServer) -> None:
    """What asks for liveness restarts what does not answer: nobody who loads, waits for a bundle or drains."""
    with connected(started.address) as channel:
        assert health(channel, "liveness") == SERVING
        started.set_serving()
        assert health(channel, "liveness") == SERVING
        started.set_not_serving()
        assert health(channel, "liveness") == SERVING


def test_the_metrics_port_tells_probes_and_people_why_a_server_is_not_ready() -> None:
    server = echo_server(metrics_port=free_port())
    server.start()
    try:
        assert probe(server, "/readyz") == (503, "loading\n")
        assert probe(server, "/livez") == (200, "alive\n")
        server.tell_waiting("waiting for a generation: the store is empty")
        assert probe(server, "/readyz") == (503, "waiting for a generation: the store is empty\n")
        server.set_serving()
        assert probe(server, "/readyz") == (200, "ready\n")
        server.set_not_serving()
        assert probe(server, "/readyz") == (503, "stopping\n")
        assert probe(server, "/livez") == (200, "alive\n")
        assert probe(server, "/other") == (404, "expected /metrics, /livez or /readyz\n")
    finally:
        server.stop(0)


def probe(server: ServiceServer, path: str) -> tuple[int, str]:
    assert server.metrics_address is not None
    connection = http.client.HTTPConnection(server.metrics_address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_draining_server_still_serves(started: ServiceServer) -> None:
    started.set_serving()
    started.set_not_serving()
    with connected(started.address) as channel:
        assert say_stub(channel)(StringValue(value="late"), timeout=5).value == "late"


def test_health_answers_while_every_worker_is_busy() -> None:
    with echo_server(max_workers=1) as server, connected(server.address) as channel:
        busy = [say_stub(channel).future(StringValue(value="sleep 0.3")) for _ in range(3)]
        start = time.monotonic()
        assert health(channel) == SERVING
        assert time.monotonic() - start < 0.25
        for call in busy:
            call.result()


def test_watchers_of_health_hear_of_changes(started: ServiceServer) -> None:
    with connected(started.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)
        assert next(watch).status == NOT_SERVING
        started.set_serving()
        assert next(watch).status == SERVING
        watch.cancel()


def test_watchers_that_give_up_at_once_stop_nobody(started: ServiceServer) -> None:
    started.set_serving()

    def watch_and_give_up(seed: int) -> None:
        chance = random.Random(seed)
        with connected(started.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            for _ in range(150):
                watch = stub.Watch(health_pb2.HealthCheckRequest())
                time.sleep(chance.uniform(0.0, 0.004))
                watch.cancel()

    with ThreadPoolExecutor(6) as watchers:
        list(watchers.map(watch_and_give_up, range(6)))
    with connected(started.address) as channel:
        assert say_stub(channel)(StringValue(value="hello"), timeout=10).value == "hello"
        assert health(channel) == SERVING


def test_watchers_that_read_nothing_are_given_up_and_keep_nobody_from_being_told(started: ServiceServer) -> None:
    started.set_serving()
    host, _, port = started.address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as deaf, connected(started.address) as channel:
        deaf.sendall(_watches_without_a_window(20))
        time.sleep(0.1)
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for _ in range(3):
            watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
            assert next(watch).status == SERVING
            watch.cancel()
        assert health(channel) == SERVING


def _watches_without_a_window(count: int) -> bytes:
    """What a client sends that watches and takes in no byte of the answers: https://www.rfc-editor.org/rfc/rfc9113."""

    def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
        return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload

    def header(name: bytes, value: bytes) -> bytes:
        return bytes([0, len(name)]) + name + bytes([len(value)]) + value

    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/grpc.health.v1.Health/Watch",
        b":authority": b"x",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    block = b"".join(header(name, value) for name, value in headers.items())
    sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, bytes([0, 4, 0, 0, 0, 0]))
    for stream in range(1, 2 * count, 2):
        # The headers end there, and with an empty message the stream.
        sent += frame(1, 4, stream, block) + frame(0, 1, stream, bytes(5))
    return sent


def test_a_watcher_of_an_unknown_service_hears_that_it_is_unknown(started: ServiceServer) -> None:
    with connected(started.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="other"), timeout=5)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()
        assert call_of(failed(lambda: health(channel, "other"))).code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(started: ServiceServer) -> None:
    with connected(started.address) as channel:
        request_class: Any = reflection_pb2.ServerReflectionRequest
        ask = request_class(list_services="")
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([ask]), timeout=5)
    names = {service.name for service in answer.list_services_response.service}
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_a_port_in_use_is_refused_by_address() -> None:
    with echo_server() as first:
        second = echo_server(port=first.port)
        with pytest.raises(AddressUnavailable, match=rf"cannot listen on 127\.0\.0\.1:{first.port} for echo"):
            second.start()
        second.stop(0)


def test_work_in_flight_finishes_within_the_grace() -> None:
    with echo_server() as server, connected(server.address) as channel:
        call = say_stub(channel).future(StringValue(value="sleep 0.3"))
        while server.in_flight_count == 0:
            time.sleep(0.005)
        server.stop(5)
        assert call.result().value == "sleep 0.3"
        refused = call_of(failed(lambda: say_stub(channel)(StringValue(value="x"), timeout=5)))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE


def test_work_that_outlives_the_grace_is_cut_off() -> None:
    with echo_server() as server, connected(server.address) as channel:
        call = say_stub(channel).future(StringValue(value="sleep 1.5"))
        while server.in_flight_count == 0:
            time.sleep(0.005)
        start = time.monotonic()
        server.stop(0.2)
        assert time.monotonic() - start < 1
        assert call_of(failed(call.result)).code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
        assert server.in_flight_count == 1


def _fail() -> None:
    raise OSError("the disk is gone")


def test_closers_run_after_the_stop_last_first_and_one_that_fails_stops_no_other() -> None:
    closed: list[str] = []
    with echo_server() as server:
        server.on_close(lambda: closed.append("first"))
        server.on_close(_fail)
        server.on_close(lambda: closed.append("last"))
    assert closed == ["last", "first"]


def test_requests_beyond_the_bound_are_refused_at_once() -> None:
    with echo_server(max_workers=1, max_concurrent_requests=2) as server, connected(server.address) as channel:
        calls = [say_stub(channel).future(StringValue(value="sleep 0.3")) for _ in range(4)]
        codes = sorted(call.code().name for call in calls)
    assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]


def test_a_message_beyond_the_bound_is_refused_and_the_server_goes_on() -> None:
    with echo_server(max_message_bytes=2048) as server, connected(server.address) as channel:
        say = say_stub(channel)
        error = call_of(failed(lambda: say(StringValue(value="x" * 4096), timeout=5)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert say(StringValue(value="small"), timeout=5).value == "small"


def test_old_connections_are_closed_gently() -> None:
    with echo_server(max_connection_age_seconds=0.2) as server, connected(server.address) as channel:
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        end = time.monotonic() + 5
        count = 0
        while grpc.ChannelConnectivity.IDLE not in states[1:] and time.monotonic() < end:
            say_stub(channel)(StringValue(value="steady"), timeout=5)
            count += 1
            time.sleep(0.02)
    assert grpc.ChannelConnectivity.IDLE in states[1:]
    assert count > 1


def test_ten_threads_get_their_own_answers() -> None:
    with echo_server() as server, connected(server.address) as channel:
        say = say_stub(channel)
        wrong: list[str] = []

        def ask(name: int) -> None:
            for turn in range(50):
                text = f"{name}-{turn}"
                if say(StringValue(value=text), timeout=10).value != text:
                    wrong.append(text)

        threads = [threading.Thread(target=ask, args=(name,)) for name in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        labels = {"method": "test.Echo/Say", "code": "OK"}
        assert server.metrics.registry.get_sample_value("twostage_requests_total", labels) == 500
    assert wrong == []


def test_the_port_is_free_again_after_the_stop() -> None:
    with echo_server() as server:
        port = server.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
