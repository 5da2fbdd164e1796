"""Keeps what is known of the replicas' generations true."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import structlog

from gateway.status import AskedStage
from twostage.rpc.replica import Replica

MISSES = 3
"""After so many questions in a row without an answer in time nothing is known of a replica any more.

Not after one: a replica that is busy answers late, and calling it unknown would send its work to the others.
"""

# Between two rounds, however often somebody asks for one.
_LEAST_SECONDS = 0.05


class StageWatch:
    """Asks every connection of every stage what it holds, again and again, in a thread of its own.

    A connection and not an address is asked, because several processes may serve one address and each holds its own.
    What is heard stands in :attr:`twostage.rpc.replica.Replica.held`.

    Args:
        poll_seconds: Between two rounds, above 0.
        timeout_seconds: How long an answer may take.
    """

    def __init__(self, *, poll_seconds: float, timeout_seconds: float) -> None:
        self._stages: Sequence[AskedStage] = ()
        self._poll_seconds = poll_seconds
        self._timeout_seconds = timeout_seconds
        self._misses: dict[Replica[Any], int] = {}
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._logger = structlog.get_logger(service="gateway")

    def start(self, stages: Sequence[AskedStage]) -> None:
        """Asks for the first time and from then on.

        Args:
            stages: Whom to ask.
        """
        self._stages = stages
        self._thread = threading.Thread(target=self._run, name="stage watch", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Has everybody asked at once; returns before they are."""
        self._woken.set()

    def ask(self) -> None:
        """Asks everybody once and waits for the answers."""
        misses: dict[Replica[Any], int] = {}
        for replica, call in list(self._calls()):
            replica.held, misses[replica] = self._heard(replica, call)
        self._misses = misses

    def close(self) -> None:
        """Ends asking; what is known stays as it is."""
        self._closed.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(2 * self._timeout_seconds)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self.ask()
            except Exception:
                # The next round may go well, and without rounds nothing would ever be known.
                self._logger.exception("asking the stages failed")
            self._woken.wait(self._poll_seconds)
            self._closed.wait(_LEAST_SECONDS)
            self._woken.clear()

    def _calls(self) -> Iterator[tuple[Replica[Any], Any]]:
        for stage in self._stages:
            for replica in stage.replicas.connections():
                try:
                    yield replica, replica.stub.GetStatus.future(stage.request, timeout=self._timeout_seconds)
                except ValueError:
                    # It was closed after it left the target.
                    continue

    def _heard(self, replica: Replica[Any], call: Any) -> tuple[frozenset[int] | None, int]:
        """What is known of a replica now, and how many answers in a row it owes."""
        try:
            status = call.result().status
        except (grpc.RpcError, grpc.FutureCancelledError):
            replica.note_status(answered=False)
            misses = self._misses.get(replica, 0) + 1
            if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and misses < MISSES:
                return replica.held, misses
            return None, misses
        replica.note_status(answered=True)
        # One that does not serve yet will hold something soon, nobody knows when.
        return (frozenset(each.generation for each in status.generations) or None if status.serving else None), 0
