from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.whole.http_load import run_http_load


class _Handler(BaseHTTPRequestHandler):
    """Echoes what is asked; in chunks, slowly or with an error where the request says so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(asked.get("seconds", 0.0))
        body = json.dumps({"echo": asked["name"]}).encode()
        self.send_response(asked.get("status", 200))
        # Ended without a word, as a server does whose patience is over.
        self.close_connection = bool(asked.get("closing"))
        if asked.get("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:3], body[3:], b""):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
        """Says nothing."""


@pytest.fixture(name="address")
def _address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _run(address: str, *bodies: dict[str, Any], rate: float = 50.0, seconds: float = 0.2, timeout: float = 5.0) -> Any:
    answers: list[tuple[int, str]] = []
    result = run_http_load(
        address,
        "/",
        [json.dumps(body).encode() for body in bodies],
        rate=rate,
        seconds=seconds,
        timeout_seconds=timeout,
        on_answer=lambda position, _due, _latency, body: answers.append((position, body["echo"])),
    )
    return result, sorted(answers)


def test_bodies_are_sent_in_turn_and_every_answer_is_told_with_its_position(address: str) -> None:
    result, answers = _run(address, {"name": "a"}, {"name": "b", "chunked": True})
    assert result.due_count == 10
    assert answers == [(position, "ab"[position % 2]) for position in range(10)]
    assert result.errors == {}


def test_requests_leave_on_schedule_while_earlier_ones_wait(address: str) -> None:
    result, _ = _run(address, {"name": "slow", "seconds": 0.4}, rate=40.0, seconds=0.25)
    # One after the other they would take four seconds.
    assert result.seconds < 2.0
    assert all(outcome.latency_seconds >= 0.4 for outcome in result.outcomes)


def test_a_late_answer_and_a_bad_status_are_errors(address: str) -> None:
    late, nothing = _run(address, {"name": "slow", "seconds": 0.5}, rate=10.0, seconds=0.2, timeout=0.05)
    assert late.errors == {"DEADLINE_EXCEEDED": 2}
    assert nothing == []
    bad, _ = _run(address, {"name": "x", "status": 503}, rate=10.0, seconds=0.2)
    assert bad.errors == {"HTTP_503": 2}


def test_an_address_where_nobody_listens_is_an_error_and_no_crash() -> None:
    result, _ = _run("127.0.0.1:9", {"name": "x"}, rate=10.0, seconds=0.2)
    assert result.errors == {"UNAVAILABLE": 2}


def test_a_connection_that_the_server_has_ended_is_not_used_again(address: str) -> None:
    result, answers = _run(address, {"name": "a", "closing": True}, rate=10.0, seconds=0.5)
    assert len(answers) == 5
    assert result.errors == {}
