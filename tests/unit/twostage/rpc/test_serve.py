from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tests.ports import free_port
from tests.unit.twostage.rpc.echo import call_of, connected, echo_server, failed, say_stub
from tests.unit.twostage.rpc.test_metrics import read

ROOT = Path(__file__).parents[4]


@contextmanager
def process(**settings: object) -> Iterator[subprocess.Popen[str]]:
    environment = {f"TWOSTAGE_ECHO_{name.upper()}": str(value) for name, value in settings.items()}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.twostage.rpc.echo"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def announced(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line: dict[str, Any] = json.loads(child.stdout.readline())
    return line


def ended(child: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    out, err = child.communicate(timeout=60)
    return child.returncode, out.splitlines(), err.splitlines()


def begin(channel: grpc.Channel, text: str) -> Any:
    call = say_stub(channel).future(StringValue(value=text), wait_for_ready=True)
    # A second request, answered, shows that the first is being worked on.
    say_stub(channel)(StringValue(value="there?"), timeout=10)
    return call


def test_a_server_announces_itself_in_one_line_and_ends_orderly_on_sigterm() -> None:
    with process(metrics_port=(metrics_port := free_port())) as child:
        line = announced(child)
        assert line == {
            "event": "serving",
            "service": "echo",
            "address": line["address"],
            "metrics_address": f"127.0.0.1:{metrics_port}",
            "pid": child.pid,
        }
        assert "twostage_ready 1.0" in read(line["metrics_address"])
        with connected(line["address"]) as channel:
            call = begin(channel, "sleep 0.5")
            child.send_signal(signal.SIGTERM)
            assert call.result(timeout=10).value == "sleep 0.5"
        code, out, err = ended(child)
    assert (code, out) == (0, [])
    events = [json.loads(entry) for entry in err]
    assert [event["event"] for event in events][-5:] == ["slow request", "stopping", "second", "first", "stopped"] or [
        event["event"] for event in events
    ][-5:] == ["stopping", "slow request", "second", "first", "stopped"]
    assert {event["service"] for event in events} == {"echo"}


def test_work_that_outlives_the_grace_does_not_keep_the_process() -> None:
    with process(grace_seconds=0.2) as child:
        with connected(announced(child)["address"]) as channel:
            call = begin(channel, "sleep 120")
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            code, _, err = ended(child)
            assert time.monotonic() - start < 50
            assert call_of(failed(call.result)).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert code == 0
        assert json.loads(err[-1])["request_count"] == 1


def test_a_second_signal_ends_the_grace() -> None:
    with process(grace_seconds=60) as child, connected(announced(child)["address"]) as channel:
        call = begin(channel, "sleep 30")
        child.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert child.poll() is None
        start = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert ended(child)[0] == 0
        assert time.monotonic() - start < 5
        assert call_of(failed(call.result)).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_requests_are_served_during_the_readiness_period() -> None:
    with process(readiness_seconds=0.6) as child, connected(announced(child)["address"]) as channel:
        say_stub(channel)(StringValue(value="before"), timeout=5)
        start = time.monotonic()
        child.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert say_stub(channel)(StringValue(value="meanwhile"), timeout=5).value == "meanwhile"
        assert ended(child)[0] == 0
        assert time.monotonic() - start >= 0.6


def test_a_signal_ends_a_server_that_still_loads() -> None:
    with process(prepare="sleep 60") as child:
        assert child.stderr is not None
        assert json.loads(child.stderr.readline())["event"] == "preparing"
        start = time.monotonic()
        child.send_signal(signal.SIGTERM)
        code, out, _ = ended(child)
    assert (code, out) == (0, [])
    assert time.monotonic() - start < 5


def test_a_failed_load_is_told_in_one_line() -> None:
    with process(prepare="refuse") as child:
        code, out, err = ended(child)
    assert (code, out) == (1, [])
    assert err[-1] == "echo: error: store: expected a generation, received an empty folder"
    assert not any("Traceback" in line or "exception" in line for line in err)


def test_a_defect_while_loading_is_told_with_its_traceback() -> None:
    with process(prepare="defect") as child:
        code, _, err = ended(child)
    assert code == 1
    assert err[-1] == "echo: error: KeyError: 'forgotten'"
    (defect,) = [event for event in map(json.loads, err[:-1]) if event["level"] == "error"]
    assert defect["exception"][0]["exc_type"] == "KeyError"


def test_a_port_in_use_is_told_in_one_line() -> None:
    with echo_server() as other, process(port=other.port) as child:
        code, out, err = ended(child)
    assert (code, out) == (1, [])
    assert err[-1] == f"echo: error: cannot listen on 127.0.0.1:{other.port} for echo: Address already in use"
    assert [json.loads(entry)["event"] for entry in err[:-1]] == ["second", "first"]


def test_a_bad_setting_is_told_in_one_line() -> None:
    with process(max_workers="many") as child:
        code, out, err = ended(child)
    assert (code, out) == (2, [])
    assert len(err) == 1
    assert err[0].startswith("echo: error: TWOSTAGE_ECHO_MAX_WORKERS: expected a valid integer")
    assert err[0].endswith("received 'many'")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_idle_server_ends_at_once(name: str) -> None:
    with process() as child:
        announced(child)
        start = time.monotonic()
        child.send_signal(signal.Signals[name])
        assert ended(child)[0] == 0
        assert time.monotonic() - start < 2
