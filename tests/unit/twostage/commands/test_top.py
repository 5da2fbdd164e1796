"""``twostage top`` against real metrics endpoints."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from tests.ports import free_port
from twostage.cli import main
from twostage.rpc.metrics import ServerMetrics
from twostage.rpc.metrics_endpoint import MetricsEndpoint


def top(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["top", "--once", "--window", "1", *arguments], catch_exceptions=False)


@pytest.fixture
def retrieval() -> Iterator[str]:
    metrics = ServerMetrics(CollectorRegistry(), "retrieval")
    metrics.ready.set(1)
    metrics.set_generation(12)
    endpoint = MetricsEndpoint(metrics.registry, "127.0.0.1", free_port())
    yield endpoint.address
    endpoint.close()


def test_it_shows_who_serves_what(retrieval: str) -> None:
    shown = top("--metrics", retrieval)
    assert shown.exit_code == 0
    row = next(line for line in shown.output.splitlines() if retrieval in line)
    assert [cell.strip() for cell in row.split("│")][1:5] == ["retrieval", retrieval, "SERVING", "active 12"]
    assert "no request to the gateway within 1 s" in shown.output


def test_a_server_that_does_not_answer_is_named_and_ends_it_with_1(retrieval: str) -> None:
    shown = top("--metrics", retrieval, "--metrics", f"127.0.0.1:{free_port()}")
    assert shown.exit_code == 1
    assert "Connection refused" in shown.output
    assert "1 of 2 servers did not answer" in shown.output


def test_a_name_that_is_not_known_is_told() -> None:
    shown = top("--metrics", "dns:///nowhere.invalid:9100")
    assert shown.exit_code == 1
    assert "cannot be looked up" in shown.output


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n# drips", "timed out"),
        (b"HTTP/1.0 200", "timed out"),
        (b'HTTP/1.0 200 OK\r\n\r\nx_bucket{le="far"} 1\n', "no metrics of Prometheus"),
    ],
    ids=["body", "headers", "edge"],
)
def test_one_that_drips_or_tells_nonsense_holds_nobody_up(answer: bytes, complaint: str) -> None:
    drips = complaint == "timed out"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(answer)
                    while drips:
                        connection.sendall(b".")
                        time.sleep(0.05)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        shown = top("--interval", "0.3", "--metrics", f"127.0.0.1:{listening.getsockname()[1]}")
        serving.join(10)
    assert shown.exit_code == 1
    assert complaint in shown.output


@pytest.mark.parametrize("target", ["9100", "host", "http://host:9100", "dns:///host", "unix:/run/metrics"])
def test_an_address_that_is_none_is_refused(target: str) -> None:
    refused = top("--metrics", target)
    assert refused.exit_code == 2
    assert "expected host:port" in " ".join(refused.output.split())
