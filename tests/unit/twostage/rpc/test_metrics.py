from __future__ import annotations

import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPResponse

import grpc
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.ports import free_port
from twostage.rpc import metrics_endpoint
from twostage.rpc.address import AddressUnavailable
from twostage.rpc.metrics import ServerMetrics, new_registry
from twostage.rpc.metrics_endpoint import MetricsEndpoint


def read(address: str) -> str:
    response: HTTPResponse
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
        return response.read().decode()


def test_the_endpoint_exposes_our_metrics_and_the_process() -> None:
    registry = new_registry()
    metrics = ServerMetrics(registry, "ranking")
    method = metrics.for_method("twostage.v1.RankingService/Rank")
    method.count(grpc.StatusCode.OK)
    method.finished(grpc.StatusCode.OK, 0.004)
    method.finished(grpc.StatusCode.NOT_FOUND, 0.2)
    metrics.set_generation(7)
    endpoint = MetricsEndpoint(registry, "127.0.0.1", free_port())
    try:
        text = read(endpoint.address)
    finally:
        endpoint.close()
    assert 'twostage_requests_total{code="OK",method="twostage.v1.RankingService/Rank"} 2.0' in text
    rank = 'method="twostage.v1.RankingService/Rank"'
    assert f'twostage_request_seconds_bucket{{le="0.005",{rank},outcome="ok"}} 1.0' in text
    assert f'twostage_request_seconds_bucket{{le="0.003",{rank},outcome="ok"}} 0.0' in text
    assert f'twostage_request_seconds_bucket{{le="0.1",{rank},outcome="failed"}} 0.0' in text
    assert f'twostage_request_seconds_bucket{{le="0.25",{rank},outcome="failed"}} 1.0' in text
    assert 'twostage_generation{state="active"} 7.0' in text
    assert re.search(r'twostage_build_info\{grpc="[\d.]+",python="3[\d.]+",service="ranking",version=".+"\} 1.0', text)
    assert "python_gc_collections_total" in text


def test_a_scraper_that_asks_for_openmetrics_gets_it_with_exemplars() -> None:
    registry = new_registry()
    method = ServerMetrics(registry, "ranking").for_method("test.Echo/Say")
    method.finished(grpc.StatusCode.OK, 0.004, {"trace_id": "0123456789abcdef" * 2})
    endpoint = MetricsEndpoint(registry, "127.0.0.1", free_port())
    try:
        wanted = {"Accept": "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        asked = urllib.request.Request(f"http://{endpoint.address}/metrics", headers=wanted)
        with urllib.request.urlopen(asked, timeout=5) as response:  # noqa: S310 - our own endpoint
            kind, text = response.headers["Content-Type"], response.read().decode()
        assert "trace_id" not in read(endpoint.address)
    finally:
        endpoint.close()
    assert kind.startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    (found,) = [sample for sample in families["twostage_request_seconds"].samples if sample.exemplar]
    assert (found.labels["le"], found.exemplar.labels) == ("0.005", {"trace_id": "0123456789abcdef" * 2})


def test_other_paths_are_not_found() -> None:
    endpoint = MetricsEndpoint(CollectorRegistry(), "127.0.0.1", free_port())
    try:
        for path in ("", "/", "/metrics/", "/metrics/x", "/favicon.ico"):
            with pytest.raises(urllib.error.HTTPError, match="404") as caught:
                urllib.request.urlopen(f"http://{endpoint.address}{path}", timeout=5)
            with caught.value as answer:
                assert answer.read() == b"expected /metrics, /livez or /readyz\n"
    finally:
        endpoint.close()


def test_a_scraper_that_says_nothing_holds_up_nobody() -> None:
    endpoint = MetricsEndpoint(new_registry(), "127.0.0.1", free_port())
    try:
        host, _, port = endpoint.address.rpartition(":")
        with socket.create_connection((host, int(port))):
            assert "process_cpu_seconds_total" in read(endpoint.address)
    finally:
        endpoint.close()


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        with pytest.raises(AddressUnavailable, match=rf"cannot listen on 127\.0\.0\.1:{port} for metrics: .*in use"):
            MetricsEndpoint(CollectorRegistry(), "127.0.0.1", port)


def test_a_closed_endpoint_frees_its_port() -> None:
    endpoint = MetricsEndpoint(CollectorRegistry(), "127.0.0.1", free_port())
    endpoint.close()
    with pytest.raises(urllib.error.URLError):
        read(endpoint.address)
    MetricsEndpoint(CollectorRegistry(), "127.0.0.1", int(endpoint.address.rpartition(":")[2])).close()


def test_two_servers_in_one_process_do_not_share_metrics() -> None:
    first, second = (ServerMetrics(CollectorRegistry(), name) for name in ("a", "b"))
    first.for_method("m").count(grpc.StatusCode.OK)
    assert second.registry.get_sample_value("twostage_requests_total", {"method": "m", "code": "OK"}) is None


def test_connections_that_say_nothing_or_break_off_hold_no_thread_and_write_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics_endpoint._QuietHandler, "timeout", 0.2)
    endpoint = MetricsEndpoint(CollectorRegistry(), "127.0.0.1", free_port())
    host, port = endpoint.address.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection((host, int(port)), timeout=10) as broken:
            broken.sendall(b"GET /met")
            # Closing then resets the connection.
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + 10
        while any("process_request_thread" in thread.name for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        endpoint.close()
    assert capfd.readouterr().err == ""
