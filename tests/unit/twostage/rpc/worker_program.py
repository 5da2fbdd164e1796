"""Real processes of the echo service with several workers, and what is asked of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from tests.unit.twostage.rpc.echo import connected, say_stub
from tests.unit.twostage.rpc.test_metrics import read

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


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} in {text}"
    return float(found[1])


def restarted(address: str) -> bool:
    return sample(read(address), "twostage_worker_restarts_total") == 1


def status_bytes(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024
