"""Several processes on one port: real processes of the echo service."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tests.ports import free_port, listens
from tests.unit.twostage.rpc.echo import call_of, connected, failed, say_stub
from tests.unit.twostage.rpc.test_metrics import read
from tests.unit.twostage.rpc.worker_program import (
    announced,
    answering,
    ask,
    ended,
    eventually,
    is_running,
    program,
    restarted,
    sample,
    status_bytes,
)
from twostage.rpc.channels import Replicas

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over processes")


def test_two_workers_share_a_port_and_are_announced_once_as_one_server() -> None:
    with program("--metrics-port", str(metrics_port := free_port())) as child:
        line = announced(child)
        assert line == {
            "event": "serving",
            "service": "echo",
            "address": line["address"],
            "metrics_address": f"127.0.0.1:{metrics_port}",
            "pid": child.pid,
        }
        pids = answering(line["address"])
        assert len(pids) == 2
        assert child.pid not in pids
        child.send_signal(signal.SIGTERM)
        code, out, err = ended(child)
    assert (code, out) == (0, [])
    events = [json.loads(entry) for entry in err]
    assert [event["event"] for event in events if "worker" not in event] == ["serving", "stopping", "stopped"]
    assert {event["worker"] for event in events if event["event"] == "stopped" and "worker" in event} == {1, 2}
    assert not any(map(is_running, pids))


def test_connections_of_one_client_reach_both_workers() -> None:
    with program() as child:
        with Replicas(announced(child)["address"], say_stub, connection_count=20) as replicas:
            pids = Counter(replicas.pick().stub(StringValue(value="pid"), timeout=10).value for _ in range(200))
        assert len(pids) == 2
        assert sum(pids.values()) == 200
        # Twenty connections, ten requests over each: a worker with a single connection would have ten.
        assert min(pids.values()) % 10 == 0


def test_sigterm_lets_the_work_of_every_worker_finish_and_takes_no_more() -> None:
    with program() as child, ExitStack() as stack:
        address = announced(child)["address"]
        channels = [stack.enter_context(connected(address)) for _ in range(20)]
        assert len({ask(channel, "pid") for channel in channels}) == 2
        calls = [say_stub(channel).future(StringValue(value="sleep 2.5"), timeout=20) for channel in channels]
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        eventually(lambda: not listens(address), 2.0)
        assert [call.result(timeout=20).value for call in calls] == ["sleep 2.5"] * 20
        assert ended(child)[:2] == (0, [])


def test_a_second_signal_ends_the_grace_of_all() -> None:
    with program() as child, connected(announced(child)["address"]) as channel:
        ask(channel, "there?")
        call = say_stub(channel).future(StringValue(value="sleep 30"))
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert child.poll() is None
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert ended(child)[0] == 0
        assert time.monotonic() - start < 5
        assert call_of(failed(call.result)).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_ctrl_c_reaches_the_workers_once_so_that_their_work_finishes() -> None:
    with program() as child, connected(announced(child)["address"]) as channel:
        # Two signals that come together may count as one, so that the answer alone would not show it.
        assert os.getpgid(int(ask(channel, "pid"))) != child.pid
        call = say_stub(channel).future(StringValue(value="sleep 0.8"), timeout=10)
        time.sleep(0.2)
        # As a terminal does: to the whole group of processes.
        os.killpg(child.pid, signal.SIGINT)
        assert call.result(timeout=10).value == "sleep 0.8"
        assert ended(child)[0] == 0


def test_a_killed_worker_is_started_again_and_clients_go_on() -> None:
    with program("--prepare", "sleep 0.3", "--metrics-port", str(free_port())) as child:
        line = announced(child)
        with Replicas(line["address"], say_stub, connection_count=20) as replicas:

            def ask_all() -> list[str]:
                return [
                    replicas.pick().stub(StringValue(value="pid"), timeout=10, wait_for_ready=True).value
                    for _ in range(60)
                ]

            before = set(ask_all())
            assert len(before) == 2
            victim, survivor = sorted(before)
            os.kill(int(victim), signal.SIGKILL)
            # Not one fails, and none is refused by a worker that still loads: it does not listen.
            assert set(ask_all()) == {survivor}
            eventually(lambda: len(answering(line["address"], 12)) == 2)
        text = read(line["metrics_address"])
        assert sample(text, "twostage_worker_restarts_total") == 1
        assert sample(text, "twostage_ready") == 1
        child.send_signal(signal.SIGTERM)
        code, _, err = ended(child)
    assert code == 0
    (death,) = [event for event in map(json.loads, err) if event["event"] == "worker died"]
    assert death["how"] == "signal SIGKILL"


def test_metrics_are_those_of_all_workers_and_outlive_one() -> None:
    requests = 'twostage_requests_total{code="OK",method="test.Echo/Say"}'
    with program("--metrics-port", str(free_port())) as child:
        line = announced(child)
        pids = answering(line["address"], 24)
        text = read(line["metrics_address"])
        assert sample(text, requests) == 24
        assert sample(text, 'twostage_request_seconds_count{method="test.Echo/Say",outcome="ok"}') == 24
        assert sample(text, 'twostage_generation{state="active"}') == 7
        assert sample(text, "twostage_requests_in_flight") == 0
        assert sample(text, "twostage_workers") == 2
        assert text.count("\ntwostage_build_info{") == 1
        assert "pid=" not in text
        with connected(line["address"]) as channel:
            call = say_stub(channel).future(StringValue(value="sleep 0.5"))
            eventually(lambda: sample(read(line["metrics_address"]), "twostage_requests_in_flight") == 1, 5)
            call.result(timeout=5)
        cpu_seconds = sample(text, "process_cpu_seconds_total")
        memory = sample(text, "process_resident_memory_bytes")
        resident = sum(status_bytes(pid, "VmRSS") for pid in (*pids, child.pid))
        assert 0.2 * resident < memory <= 1.05 * resident
        with connected(line["address"]) as channel:
            victim = int(ask(channel, "pid"))
            cut_off = say_stub(channel).future(StringValue(value="sleep 30"))
            eventually(lambda: sample(read(line["metrics_address"]), "twostage_requests_in_flight") == 1, 5)
            os.kill(victim, signal.SIGKILL)
            assert call_of(failed(cut_off.result)).code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: not is_running(victim) and restarted(line["metrics_address"]))
        answering(line["address"], 2)
        text = read(line["metrics_address"])
        # All before, the one that slept, the one that told its process, and those since.
        assert sample(text, requests) == 28
        assert sample(text, "twostage_requests_in_flight") == 0
        assert sample(text, 'twostage_generation{state="active"}') == 7
        # What the dead one had used is still counted.
        assert sample(text, "process_cpu_seconds_total") > cpu_seconds


def test_metrics_are_found_at_their_path_alone() -> None:
    with program("--metrics-port", str(free_port())) as child:
        address = announced(child)["metrics_address"]
        assert "twostage_ready 1.0" in read(address)
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"http://{address}/", timeout=5)
        caught.value.close()
