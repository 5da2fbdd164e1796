"""A real Redis for tests: on a free port and a Unix socket, in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import free_port

MISSING = shutil.which("redis-server") is None
needs_redis = pytest.mark.skipif(MISSING, reason="redis-server is not installed (Debian: apt-get install redis-server)")

# It keeps nothing: most tests need no more.
FORGETFUL = ("--save", "", "--appendonly", "no")
# What was acknowledged is on disk.
LASTING = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


class RedisServer:
    """A Redis server as a child process, which can be killed, stopped and started again.

    Args:
        arguments: Beside where it listens and works.
    """

    def __init__(self, arguments: Sequence[str] = FORGETFUL) -> None:
        self.port = free_port()
        # A Unix socket's path is short, and a test's folder may not be.
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.folder / "socket"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=10, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--dir", str(self.folder), *self._arguments], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "redis-server did not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                # With a password it answers that one is needed.
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False


def everything_in(server: RedisServer) -> bytes:
    """All keys of a Redis with all that they hold, in one piece."""
    pieces: list[bytes] = []
    read: dict[bytes, Callable[[redis.Redis, bytes], object]] = {
        b"string": lambda client, key: client.get(key),
        b"hash": lambda client, key: client.hgetall(key.decode()),
        b"set": lambda client, key: client.smembers(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"zset": lambda client, key: client.zrange(key, 0, -1),
    }
    with server.client() as client:
        for key in client.scan_iter():
            content = read[client.type(key)](client, key)
            parts = [content] if isinstance(content, bytes) else _flat(content)
            pieces += [key, *parts]
    return b"\n".join(pieces)


def _flat(content: object) -> list[bytes]:
    if isinstance(content, dict):
        return [part for pair in content.items() for part in pair]
    assert isinstance(content, (list, set, tuple))
    return list(content)
