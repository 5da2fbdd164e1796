"""One of two replicas of each stage is killed, started again, stopped and continued, under load: nobody notices."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from tests.integration.gateway.fleet import Processes, processes
from twostage.load.open_loop import run_load
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2

RATE = 20.0
COUNT = 10
DEADLINE_SECONDS = 2.0
RETRIEVE = "twostage.v1.RetrievalService/Retrieve"
RANK = "twostage.v1.RankingService/Rank"
# A replica that hangs is put aside after five calls in a row without an answer, and each of those is made again
# elsewhere within the budgets of hedges and retries, which hold ten each. So every answer should be FULL; what is left
# over is for a machine that takes the processor away for longer than a stage has.
LOWER_SHARE = 0.02


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("replicas")) as started:
        yield started


@dataclass
class Load:
    """A load that runs in the background, and what came back of it."""

    due: list[float] = field(default_factory=list)
    answers: list[gateway_pb2.RecommendResponse] = field(default_factory=list)
    due_count: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def take(self, _position: int, due: float, _latency: float, answer: gateway_pb2.RecommendResponse) -> None:
        self.due.append(due)
        self.answers.append(answer)

    def check(self) -> None:
        """No request failed, every answer is whole, and hardly any stands on a lower rung."""
        assert not self.errors
        assert len(self.answers) == self.due_count > 0
        assert {len(answer.recommendations) for answer in self.answers} == {COUNT}
        assert not any(answer.HasField("shortfall") for answer in self.answers)
        lower = [answer.rung_reason for answer in self.answers if answer.rung != gateway_pb2.RUNG_FULL]
        assert len(lower) <= LOWER_SHARE * len(self.answers), lower

    def full_since(self, moment: float) -> bool:
        """Whether all that was due after a moment, of ``time.perf_counter``, stands on FULL."""
        since = [answer for due, answer in zip(self.due, self.answers, strict=True) if due >= moment]
        return bool(since) and all(answer.rung == gateway_pb2.RUNG_FULL for answer in since)


@contextmanager
def load(fleet: Processes) -> Iterator[Load]:
    """Asks on schedule, second by second, whatever happens meanwhile; waits for all answers in the end."""
    requests = [
        gateway_pb2.RecommendRequest(recent_item_ids=[f"item-{first}", f"item-{first + 5}"], count=COUNT)
        for first in range(1, 40)
    ]
    running, over = Load(), threading.Event()

    def run() -> None:
        with grpc.insecure_channel(fleet.address) as channel:
            while not over.is_set():
                result = run_load(
                    channel,
                    requests,
                    rate=RATE,
                    seconds=1.0,
                    timeout_seconds=DEADLINE_SECONDS,
                    on_answer=running.take,
                )
                running.due_count += result.due_count
                running.errors.update(result.errors)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield running
    finally:
        over.set()
        thread.join()


def until(condition: object, seconds: float) -> float:
    """Waits, and says how long it took."""
    assert callable(condition)
    before = time.monotonic()
    while not condition():
        assert time.monotonic() - before < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - before


def gets_work(fleet: Processes, process: ServiceProcess, method: str, seconds: float) -> None:
    """Waits until a replica was given another request and answered it."""

    def answered() -> float:
        return fleet.metric(process, "twostage_requests_total", method=method, code="OK")

    before = answered()
    until(lambda: answered() > before, seconds)


def test_a_replica_of_each_stage_is_killed_and_started_again(fleet: Processes) -> None:
    killed = [(fleet.retrieval[0], RETRIEVE), (fleet.ranking[0], RANK)]
    with load(fleet) as running:
        time.sleep(1.0)
        for process, _ in killed:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.5)
        for process, _ in killed:
            process.wait_stopped()
            process.start()
        until(lambda: all(process.is_serving() for process, _ in killed), 60.0)
        recovered = time.perf_counter()
        for process, method in killed:
            gets_work(fleet, process, method, 2.0)
        time.sleep(max(recovered + 2.2 - time.perf_counter(), 0.0))
    running.check()
    assert running.full_since(recovered + 2.0)


def test_a_replica_of_each_stage_is_stopped_and_continued(fleet: Processes) -> None:
    stopped = [(fleet.retrieval[1], RETRIEVE), (fleet.ranking[1], RANK)]
    with load(fleet) as running:
        time.sleep(1.5)
        for process, _ in stopped:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            # While nothing is asked of it, it is left alone.
            for stage in ("retrieval", "ranking"):
                until(
                    lambda stage=stage: fleet.metric(fleet.gateway, "twostage_gateway_replicas_aside", stage=stage), 2.0
                )
            time.sleep(1.0)
        finally:
            for process, _ in stopped:
                os.kill(process.pid, signal.SIGCONT)
        recovered = time.perf_counter()
        for process, method in stopped:
            gets_work(fleet, process, method, 2.0)
        time.sleep(max(recovered + 2.2 - time.perf_counter(), 0.0))
    running.check()
    assert running.full_since(recovered + 2.0)
