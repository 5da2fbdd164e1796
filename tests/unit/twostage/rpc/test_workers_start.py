"""Several processes on one port: how they start, and what is told when they cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.ports import free_port, listens
from tests.unit.twostage.rpc.echo import echo_server
from tests.unit.twostage.rpc.worker_program import (
    MODULE,
    announced,
    answering,
    ended,
    eventually,
    is_running,
    program,
)
from twostage.rpc.workers import GIVE_UP_COUNT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over processes")


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
    # Not the minute that loading takes.
    assert time.monotonic() - start < 30


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
