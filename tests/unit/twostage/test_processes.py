from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from twostage.processes import ChildFailedError, ServiceProcess, describe_exit

ANNOUNCE = 'print(\'{"event": "serving", "address": "127.0.0.1:1"}\', flush=True)'


def child(script: str, lines: list[tuple[str, str]] | None = None) -> ServiceProcess:
    seen = lines if lines is not None else []
    return ServiceProcess(
        "server", [sys.executable, "-c", script], on_line=lambda name, line: seen.append((name, line))
    )


def test_a_child_serves_once_it_has_announced_itself_and_other_lines_pass() -> None:
    lines: list[tuple[str, str]] = []
    process = child(f"import time; print('hello'); {ANNOUNCE}; time.sleep(60)", lines)
    process.start()
    try:
        process.wait_serving(20)
        assert process.announcement["address"] == "127.0.0.1:1"
        assert lines == [("server", "hello")]
        assert process.exit_code() is None
    finally:
        process.terminate()
        assert process.wait_stopped() == -15


def test_a_child_that_ends_first_is_named_with_its_last_words() -> None:
    process = child("import sys; sys.exit('port 1 is in use')")
    process.start()
    with pytest.raises(ChildFailedError, match=r"server ended with exit code 1: port 1 is in use"):
        process.wait_serving(20)


def test_a_child_that_does_not_serve_in_time_is_named() -> None:
    process = child("import time; time.sleep(60)")
    process.start()
    try:
        with pytest.raises(ChildFailedError, match=r"server was not serving after 0 seconds"):
            process.check_running(time.monotonic() - 1)
    finally:
        process.terminate()
        process.wait_stopped()


def test_a_child_that_ignores_the_request_to_stop_is_killed() -> None:
    process = child(f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {ANNOUNCE}; time.sleep(60)")
    process.start()
    process.wait_serving(20)
    process.terminate()
    assert process.wait_stopped(timeout_seconds=0.3) == -9


def test_an_exit_is_described_in_words() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "signal SIGKILL"


def test_a_line_that_cannot_be_shown_does_not_stop_the_reading(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(name: str, line: str) -> None:
        raise ValueError(f"{name} {line}")

    process = ServiceProcess("server", [sys.executable, "-c", f"print('odd'); {ANNOUNCE}"], on_line=refuse)
    process.start()
    process.wait_serving(20)
    process.wait_stopped()
    assert "server: a line could not be shown" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells children that their parent is gone")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    script = """
import sys, time
from twostage.processes import ServiceProcess
child = ServiceProcess("s", [sys.executable, "-c", "import time; time.sleep(60)"], on_line=print)
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
