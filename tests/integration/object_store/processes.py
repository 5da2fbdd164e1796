"""Processes that fetch and publish, and what they leave when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FETCH = """
    import sys
    from pathlib import Path
    from twostage.bundle.remote_store import RemoteStore
    RemoteStore(sys.argv[1], Path(sys.argv[2]), chunk_bytes=131072).fetch(int(sys.argv[3]))
"""

PUBLISH = """
    import sys
    from pathlib import Path
    from tests.integration.object_store.bucket import PIECES
    from tests.small_generation import publish_small
    from twostage.bundle.remote_store import RemoteStore
    publish_small(RemoteStore(sys.argv[1], Path(sys.argv[2])), model_files=PIECES)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Ends a process by SIGKILL as soon as the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the process ended too early: {process.communicate()[1]}")
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def part_bytes(folder: Path) -> int:
    byte_count = 0
    for path in folder.rglob("*.part-*"):
        # It may be whole, and have its own name, by now.
        with suppress(FileNotFoundError):
            byte_count += path.stat().st_size
    return byte_count
