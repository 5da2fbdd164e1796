"""Model servers as processes of their own: the embedded one, or one that a command starts."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.ports import HOST, free_port, listens

_POLL_SECONDS = 0.02


class ServerProcess(Protocol):
    """A started server."""

    @property
    def process_id(self) -> int:
        """The process that computes."""

    def exit_code(self) -> int | None:
        """The code it ended with, a signal as a negative number; None while it runs."""

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""


class Launcher(Protocol):
    """Something that starts servers."""

    def start(self, arguments: Sequence[str], log: Path) -> ServerProcess:
        """Starts one, its output in a file."""


class _Child:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def process_id(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


class CommandLauncher:
    """Starts servers by a command line, to which their flags are appended.

    Args:
        command: E.g. ``tensorflow_model_server``, or ``python -m model_server``.
    """

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def start(self, arguments: Sequence[str], log: Path) -> ServerProcess:
        """Starts one, its output in a file."""
        with log.open("wb") as output:
            return _Child(
                subprocess.Popen(
                    [*self._command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            )


class _Forked:
    def __init__(self, process_id: int, exit_file: Path) -> None:
        self.process_id = process_id
        self._exit_file = exit_file

    def exit_code(self) -> int | None:
        return int(self._exit_file.read_text()) if self._exit_file.exists() else None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process_id, number)


class PreloadedLauncher:
    """Starts embedded servers from one process that has imported TensorFlow once for all of them."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.tfserving.preloaded_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def start(self, arguments: Sequence[str], log: Path) -> ServerProcess:
        """Starts one, its output in a file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        exit_file = log.with_name(f"{log.name}.exit")
        request = {"arguments": list(arguments), "log": str(log), "exit": str(exit_file)}
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return _Forked(int(self._process.stdout.readline()), exit_file)

    def close(self) -> None:
        """Ends it, and what it started."""
        self._process.communicate()


class Server:
    """A server that was started on a port of its own.

    Args:
        process: Its process.
        address: Where it will listen.
        log: Its output.
    """

    def __init__(self, process: ServerProcess, address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self._log = log

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def listening(self) -> bool:
        """Whether its port takes a connection now."""
        return listens(self.address)

    def settle(self, timeout_seconds: float) -> bool:
        """Waits until it listens or has ended.

        Returns:
            Whether it listens; False too when the time is over and it did neither.
        """
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end:
            if self.listening:
                return True
            if self.process.exit_code() is not None:
                return False
            time.sleep(_POLL_SECONDS)
        return False

    def require_listening(self, timeout_seconds: float = 60.0) -> str:
        """Waits until it listens.

        Returns:
            Its address.
        """
        assert self.settle(timeout_seconds), f"the server does not listen:\n{self.output}"
        return self.address

    def wait(self, timeout_seconds: float = 60.0) -> int:
        """Waits until it has ended and gives its exit code."""
        end = time.monotonic() + timeout_seconds
        while (code := self.process.exit_code()) is None:
            assert time.monotonic() < end, f"the server does not end:\n{self.output}"
            time.sleep(_POLL_SECONDS)
        return code

    @property
    def cpu_seconds(self) -> float:
        """The processor time it has used so far."""
        fields = Path(f"/proc/{self.process.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(launcher: Launcher, flags: Sequence[str], log: Path) -> Iterator[Server]:
    """Starts a server on a free port, unless a flag names one, and makes sure that it is gone afterwards."""
    given = next((flag.partition("=")[2] for flag in flags if flag.startswith("--port=")), None)
    port = given if given is not None else str(free_port())
    arguments = [*flags] if given is not None else [f"--port={port}", *flags]
    server = Server(launcher.start(arguments, log), f"{HOST}:{port}", log)
    try:
        yield server
    finally:
        if server.process.exit_code() is None:
            server.process.send(signal.SIGKILL)
            server.wait()
