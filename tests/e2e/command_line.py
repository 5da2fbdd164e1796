"""The command line as a person uses it, for tests: commands that end, and a running ``twostage up``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twostage.bundle.store import Store
from twostage.stack import Ports


def twostage(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twostage.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def answered(*arguments: str) -> str:
    done = twostage(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Up:
    """A running ``twostage up`` and what it prints."""

    def __init__(self, store: Store, users: Path) -> None:
        self.ports = Ports.free()
        self.address = f"127.0.0.1:{self.ports.gateway}"
        self.arguments = [
            *("up", "--store", str(store.path), "--users", str(users), "--no-metrics"),
            *(f"--gateway-port={self.ports.gateway}", f"--retrieval-port={self.ports.retrieval}"),
            *(f"--ranking-port={self.ports.ranking}", f"--model-server-port={self.ports.model_server}"),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "twostage.cli", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "160"},
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.printed += line

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.05)

    def pid(self, name: str) -> int:
        found = re.findall(rf"^. {name} .*?\. +(\d+) +", self.printed, re.MULTILINE)
        found += re.findall(rf"^. {name} +.[^│]*.[^│]*. (\d+) ", self.printed, re.MULTILINE)
        found += re.findall(rf"{name} was started again \(process (\d+)\)", self.printed)
        return int(found[-1])

    def recommend(self, *arguments: str) -> dict[str, Any]:
        document = json.loads(answered("recommend", "--address", self.address, "--json", *arguments))
        assert isinstance(document, dict)
        return document

    def rung(self) -> str:
        return str(self.recommend("--count", "5")["rung"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=5)
        return code
