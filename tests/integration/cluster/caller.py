"""Calls gateways on schedule until it is stopped, and writes one line of JSON for each answer; run as a program.

::

    python -m tests.integration.cluster.caller --target dns:///gateway:50050 --rate 20

A line says ``due`` and ``came`` (seconds by ``time.monotonic``, which all processes of a machine share), ``name`` (the
rung, or the code of a failure), ``why``, ``position`` (which of the questions) and ``items`` (their ids, best first).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twostage.client import CallFailed, Client
from twostage.v1 import gateway_pb2

COUNT = 10
HISTORIES = [[f"item-{first}", f"item-{first + 1}"] for first in range(1, 121, 3)]
"""What is asked for in turn, of a store of the tests'."""


class Caller:
    """Asks one gateway address on schedule.

    Args:
        client: How it is asked.
        histories: Of those who ask, in turn.
        deadline_seconds: Of each request.
    """

    def __init__(self, client: Client, histories: Sequence[Sequence[str]], deadline_seconds: float) -> None:
        self._client = client
        self._histories = histories
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()

    def call(self, position: int, due: float) -> None:
        """Asks once and writes what came."""
        turn = position % len(self._histories)
        line: dict[str, Any] = {"due": due, "position": turn, "items": [], "why": ""}
        try:
            answer = self._client.recommend(
                recent_item_ids=self._histories[turn], count=COUNT, timeout_seconds=self._deadline_seconds
            )
        except CallFailed as error:
            line |= {"name": error.code.name, "why": str(error)}
        except Exception as error:  # noqa: BLE001 - the next one may go well, and this one must not be lost
            line |= {"name": type(error).__name__, "why": str(error)}
        else:
            line |= {
                "name": gateway_pb2.Rung.Name(answer.rung),
                "why": answer.rung_reason,
                "generation": answer.generation,
                "items": [item.item_id for item in answer.recommendations],
            }
        line["came"] = time.monotonic()
        with self._lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--deadline-seconds", type=float, default=2.0)
    parser.add_argument("--histories", type=Path, help="a JSON file of lists of item ids, instead of the tests' own")
    flags = parser.parse_args()
    histories = HISTORIES if flags.histories is None else json.loads(flags.histories.read_text(encoding="utf-8"))
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with Client(flags.target) as client, ThreadPoolExecutor(256) as threads:
        caller = Caller(client, histories, flags.deadline_seconds)
        sys.stdout.write(json.dumps({"event": "serving", "service": "caller"}) + "\n")
        sys.stdout.flush()
        started, position = time.monotonic(), 0
        while True:
            due = started + position / flags.rate
            if over.wait(max(due - time.monotonic(), 0.0)):
                break
            threads.submit(caller.call, position, due)
            position += 1


if __name__ == "__main__":
    main()
