"""An open-loop load over HTTP/1.1 and JSON, with the results of `twostage.load.open_loop`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.whole.http_connection import HttpConnection
from twostage.load.result import LoadResult, Outcome, interval_seconds_of

OK = "OK"
"""What an answer's outcome is called where answers have no rungs."""
_LATE = "DEADLINE_EXCEEDED"
_BROKEN = "UNAVAILABLE"


def run_http_load(
    address: str,
    path: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    timeout_seconds: float,
    on_answer: Callable[[int, float, float, dict[str, Any]], None],
) -> LoadResult:
    """Posts ``rate`` bodies a second, evenly spaced, for ``seconds``, and waits for the answers.

    Connections are kept and used again; where none is free another one is opened.

    Args:
        address: ``host:port``.
        path: Where to post to.
        bodies: JSON, sent in turn, over and over.
        rate: Requests a second, above 0.
        seconds: How long, above 0.
        timeout_seconds: Each request's deadline, from when it leaves.
        on_answer: Called with an answered request's position, the moment it was due (of ``time.perf_counter``), its
            latency in seconds and the answer.
    """
    load = _Load(address, path, bodies, rate, seconds, timeout_seconds, on_answer)
    return asyncio.run(load.run())


@dataclass
class _Load:
    address: str
    path: str
    bodies: Sequence[bytes]
    rate: float
    seconds: float
    timeout_seconds: float
    on_answer: Callable[[int, float, float, dict[str, Any]], None]
    idle: list[HttpConnection] = field(default_factory=list)

    async def run(self) -> LoadResult:
        due_count = max(1, round(self.rate * self.seconds))
        result = LoadResult(
            due_count,
            rate=self.rate,
            timeout_seconds=self.timeout_seconds,
            interval_seconds=interval_seconds_of(self.seconds),
        )
        cpu = time.process_time()
        started = time.perf_counter() + 0.05
        tasks = []
        for position in range(due_count):
            due = started + position / self.rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                result.latest_start_seconds = max(result.latest_start_seconds, -wait)
                await asyncio.sleep(0)
            tasks.append(asyncio.create_task(self._ask(result, position, due, started)))
        result.sending_seconds = time.perf_counter() - started
        await asyncio.gather(*tasks)
        result.seconds = time.perf_counter() - started
        result.generator_cpu_seconds = time.process_time() - cpu
        for connection in self.idle:
            connection.close()
        return result

    async def _ask(self, result: LoadResult, position: int, due: float, started: float) -> None:
        name, content = _BROKEN, b""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                status, content = await self._post(self.bodies[position % len(self.bodies)])
                name = OK if status == 200 else f"HTTP_{status}"
        except TimeoutError:
            name = _LATE
        except (OSError, EOFError, ValueError):
            name = _BROKEN
        latency = time.perf_counter() - due
        result.record(Outcome(due - started, latency, name, name == OK))
        if name == OK:
            self.on_answer(position, due, latency, json.loads(content))

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        host, _, port = self.address.rpartition(":")
        head = f"POST {self.path} HTTP/1.1\r\nhost: {self.address}\r\ncontent-type: application/json\r\n"
        while self.idle and self.idle[-1].is_closed:
            # Servers end connections that nobody used for some seconds.
            self.idle.pop().close()
        connection = self.idle.pop() if self.idle else HttpConnection(*await asyncio.open_connection(host, int(port)))
        try:
            answer = await connection.post(head.encode() + b"content-length: ", body)
        except BaseException:
            # What is left of an answer that nobody waited for must not be taken for the next one.
            connection.close()
            raise
        self.idle.append(connection)
        return answer
