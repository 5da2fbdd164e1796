"""Calls to scripted replicas, and what they tell of second attempts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from twostage.latency import LatencyWindow
from twostage.rpc.asked_service import CallPolicy
from twostage.rpc.calls import Calls
from twostage.rpc.question import NoAnswer, Question, status_of


class Told:
    """Counts second attempts."""

    def __init__(self) -> None:
        self.hedges: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()

    def hedged(self, outcome: str) -> None:
        self.hedges[outcome] += 1

    def retried(self, outcome: str) -> None:
        self.retries[outcome] += 1


def question(seconds: float = 5.0, holding: tuple[int, ...] = ()) -> Question:
    return Question(lambda stub: stub, StringValue(value="x"), time.perf_counter() + seconds, holding)


def measured(seconds: float = 0.02) -> LatencyWindow:
    """A window that has seen enough calls, all of this length."""
    window = LatencyWindow(seconds=3600)
    for _ in range(100):
        window.record(seconds)
    return window


def make(replicas: Any, **policy: Any) -> tuple[Calls[Any], Told]:
    told = Told()
    return Calls(replicas, measured(), CallPolicy(**policy), told), told


def ask(calls: Calls[Any], first: Any = None, **more: Any) -> str:
    return str(calls.ask(question(**more), first).value)


def code_of(error: NoAnswer) -> grpc.StatusCode:
    return status_of(error.error)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.01)


def idle(replicas: Any) -> bool:
    return all(replica.in_flight_count == 0 for replica in replicas.connections())
