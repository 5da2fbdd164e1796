"""Several processes on one port: real processes of the echo service."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tests.unit.twostage.rpc.echo import call_of, connected, echo_server, failed, say_stub
from tests.unit.twostage.rpc.test_metrics import free_port, read
from twostage.rpc.channels import Replicas
from twostage.rpc.workers import GIVE_UP_COUNT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over processes")

ROOT = Path(__file__).parents[4]
MODULE = "tests.unit.twostage.rpc.echo_service"


@contextmanager
def program(*flags: str, code: str | None = None, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The service in two processes; ``code`` stands in for the program."""
    start = ["-m", MODULE] if code is None else ["-c", code]
    child = subprocess.Popen(
        [sys.executable, *start, "--processes", "2", "--port", "0", *flags],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            child.send_signal(signal.SIGTERM)
        try:
            child.communicate(timeout=20)
        except (subprocess.TimeoutExpired, ValueError):
            child.kill()


def announced(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line: dict[str, Any] = json.loads(child.stdout.readline())
    return line


def ended(child: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    out, err = child.communicate(timeout=30)
    return child.returncode, out.splitlines(), err.splitlines()


def ask(channel: grpc.Channel, text: str) -> str:
    answer: str = say_stub(channel)(StringValue(value=text), timeout=10, wait_for_ready=True).value
    return answer


def answering(address: str, connection_count: int = 24) -> Counter[int]:
    """How many of so many new connections each process answers."""
    pids: Counter[int] = Counter()
    for _ in range(connection_count):
        with connected(address) as channel:
            pids[int(ask(channel, "pid"))] += 1
    return pids


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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
        calls = [say_stub(channel).future(StringValue(value="sleep 0.8"), timeout=10) for channel in channels]
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        eventually(lambda: not listens(address), 0.5)
        assert [call.result(timeout=10).value for call in calls] == ["sleep 0.8"] * 20
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


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} in {text}"
    return float(found[1])


def test_metrics_are_those_of_all_workers_and_outlive_one() -> None:
    requests = 'twostage_requests_total{code="OK",method="test.Echo/Say"}'
    with program("--metrics-port", str(free_port())) as child:
        line = announced(child)
        pids = answering(line["address"], 24)
        text = read(line["metrics_address"])
        assert sample(text, requests) == 24
        assert sample(text, 'twostage_request_seconds_count{method="test.Echo/Say"}') == 24
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


def restarted(address: str) -> bool:
    return sample(read(address), "twostage_worker_restarts_total") == 1


def status_bytes(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except ConnectionRefusedError:
        return False


def test_nobody_listens_until_all_have_loaded() -> None:
    port = free_port()
    with program("--port", str(port), "--prepare", "sleep 1") as child:
        assert child.stderr is not None
        while json.loads(child.stderr.readline())["event"] != "preparing":
            pass
        assert not listens(f"127.0.0.1:{port}")
        # Nor can a stranger take the port meanwhile.
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        # The second loads after the first, which has loaded by then and does not listen yet.
        while json.loads(child.stderr.readline())["event"] != "preparing":
            pass
        assert not listens(f"127.0.0.1:{port}")
        assert announced(child)["address"] == f"127.0.0.1:{port}"
        assert len(answering(f"127.0.0.1:{port}")) == 2


def test_a_signal_ends_workers_that_still_load() -> None:
    with program("--prepare", "sleep 60") as child:
        assert child.stderr is not None
        while json.loads(child.stderr.readline())["event"] != "preparing":
            pass
        start = time.monotonic()
        child.send_signal(signal.SIGTERM)
        code, out, _ = ended(child)
    assert (code, out) == (0, [])
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("flag", "value", "line"),
    [
        ("--processes", "many", "--processes: expected a whole number from 0 to 256 or auto, received 'many'"),
        ("--processes", "-1", "--processes: expected a whole number from 0 to 256 or auto, received '-1'"),
        ("--log-level", "LOUD", "--log-level: expected 'DEBUG', 'INFO', 'WARNING' or 'ERROR', received 'LOUD'"),
    ],
)
def test_a_bad_setting_is_told_once(flag: str, value: str, line: str) -> None:
    with program(f"{flag}={value}") as child:
        assert ended(child) == (2, [], [f"echo: error: {line}"])


def test_a_failed_load_is_told_once_and_ends_all_with_the_workers_exit_code() -> None:
    with program("--prepare", "refuse", "--log-level", "ERROR") as child:
        code, out, err = ended(child)
    assert (code, out) == (1, [])
    assert err == ["echo: error: store: expected a generation, received an empty folder"]


def test_a_worker_killed_before_it_served_is_told_in_one_line() -> None:
    with program("--prepare", "sleep 60") as child:
        assert child.stderr is not None
        started = json.loads(child.stderr.readline())
        assert started["event"] == "worker started"
        os.kill(started["pid"], signal.SIGKILL)
        code, out, err = ended(child)
    assert (code, out) == (1, [])
    assert err[-1] == "echo: error: worker 1 ended with signal SIGKILL before it served"


def test_a_port_in_use_is_told_once() -> None:
    with echo_server() as other, program("--port", str(other.port)) as child:
        assert ended(child) == (
            1,
            [],
            [f"echo: error: cannot listen on 127.0.0.1:{other.port} for echo: Address already in use"],
        )


def test_a_port_that_workers_share_is_not_shared_with_strangers() -> None:
    with program() as first:
        port = announced(first)["address"].rpartition(":")[2]
        with program("--port", port) as second:
            code, out, err = ended(second)
        assert (code, out) == (1, [])
        assert err == [f"echo: error: cannot listen on 127.0.0.1:{port} for echo: Address already in use"]


def test_workers_end_with_a_killed_parent() -> None:
    with program() as child:
        pids = answering(announced(child)["address"])
        child.kill()
        eventually(lambda: not any(map(is_running, pids)), 10)


def test_a_worker_that_hangs_at_the_end_is_killed_and_told() -> None:
    code = f"""if True:
        import sys
        import twostage.rpc.workers as workers
        from {MODULE}.__main__ import main
        workers._SLACK_SECONDS = 0.5
        sys.exit(main())"""
    with program(code=code, TWOSTAGE_ECHO_GRACE_SECONDS="0.1") as child:
        pids = answering(announced(child)["address"])
        os.kill(min(pids), signal.SIGSTOP)
        child.send_signal(signal.SIGTERM)
        exit_code, _, err = ended(child)
    assert exit_code == 1
    assert re.fullmatch(r"echo: error: worker [12] ended with signal SIGKILL while it stopped", err[-1])
    assert not any(map(is_running, pids))


def test_workers_leave_no_files_behind(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    before = set(shared.glob("twostage-metrics-*"))
    with program("--metrics-port", str(free_port()), TMPDIR=str(tmp_path)) as child:
        announced(child)
        made = [*(set(shared.glob("twostage-metrics-*")) - before), *tmp_path.iterdir()]
        assert made
        child.send_signal(signal.SIGTERM)
        assert ended(child)[0] == 0
    assert not any(folder.exists() for folder in made)


def test_a_first_start_that_fails_for_the_second_worker_ends_all(tmp_path: Path) -> None:
    needed = tmp_path / "store"
    needed.touch()
    with program("--prepare", f"need {needed}", TWOSTAGE_ECHO_LOG_LEVEL="INFO") as child:
        assert child.stderr is not None
        while json.loads(child.stderr.readline())["event"] != "preparing":
            pass
        needed.unlink()
        code, out, err = ended(child)
    # Whether the first had looked already is chance; either way one line says why.
    assert (code, out) == (1, [])
    assert sum(line == "echo: error: store: expected a generation, received an empty folder" for line in err) == 1


def test_workers_that_die_at_every_start_are_given_up_in_one_line(tmp_path: Path) -> None:
    needed = tmp_path / "store"
    needed.touch()
    code = f"""if True:
        import sys
        import twostage.rpc.workers as workers
        from {MODULE}.__main__ import main
        workers.RESTART_SECONDS = (0.01,)
        sys.exit(main())"""
    with program("--prepare", f"need {needed}", code=code) as child:
        pids = answering(announced(child)["address"])
        needed.unlink()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        exit_code, out, err = ended(child)
    assert (exit_code, out) == (1, [])
    assert re.fullmatch(
        rf"echo: error: worker [12] died {GIVE_UP_COUNT} times in a row, last with exit code 1", err[-1]
    )


def test_while_one_serves_a_worker_that_cannot_start_is_tried_again(tmp_path: Path) -> None:
    needed = tmp_path / "store"
    needed.touch()
    code = f"""if True:
        import sys
        import twostage.rpc.workers as workers
        from {MODULE}.__main__ import main
        workers.RESTART_SECONDS = (0.01,)
        workers.GIVE_UP_COUNT = 1
        sys.exit(main())"""
    with program("--prepare", f"need {needed}", code=code) as child:
        address = announced(child)["address"]
        victim, survivor = answering(address)
        needed.unlink()
        os.kill(victim, signal.SIGKILL)
        assert child.stderr is not None
        while not child.stderr.readline().startswith("echo: error: store: expected a generation"):
            pass
        assert set(answering(address, 6)) == {survivor}
        needed.touch()
        eventually(lambda: len(answering(address, 12)) == 2)


def test_metrics_are_found_at_their_path_alone() -> None:
    with program("--metrics-port", str(free_port())) as child:
        address = announced(child)["metrics_address"]
        assert "twostage_ready 1.0" in read(address)
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"http://{address}/", timeout=5)
        caught.value.close()
