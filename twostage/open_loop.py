"""An open-loop load: requests leave on schedule, whether or not earlier ones have come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from numpy.typing import NDArray

from twostage.v1 import gateway_pb2, gateway_pb2_grpc


@dataclass
class LoadResult:
    """What came back.

    Latencies are seconds from the moment a request was due, not from when it left, so that a generator or a server
    that falls behind shows (coordinated omission).

    Args:
        due_count: Requests that were due.
        seconds: From the first due moment to the last answer.
        latencies: By rung, e.g. ``RUNG_FULL``.
        errors: How many by status code.
        latest_start_seconds: The most that a request left after it was due.
    """

    due_count: int
    seconds: float = 0.0
    latencies: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    latest_start_seconds: float = 0.0

    def percentiles(self, rung: str, shares: Sequence[float]) -> NDArray[np.float64]:
        """Percentiles (0..100) of one rung's latencies, in seconds."""
        percentiles: NDArray[np.float64] = np.percentile(np.array(self.latencies[rung]), shares)
        return percentiles


def run_load(
    channel: grpc.Channel,
    requests: Sequence[gateway_pb2.RecommendRequest],
    *,
    rate: float,
    seconds: float,
    timeout_seconds: float,
    on_progress: Callable[[int], None] = lambda _: None,
    on_answer: Callable[[int, float, float, gateway_pb2.RecommendResponse], None] | None = None,
) -> LoadResult:
    """Sends ``rate`` requests a second, evenly spaced, for ``seconds``, and waits for the answers.

    Args:
        channel: To the gateway.
        requests: Sent in turn, over and over.
        rate: Requests a second, above 0.
        seconds: How long, above 0.
        timeout_seconds: Each request's deadline.
        on_progress: Called with the number of requests sent so far.
        on_answer: Called from other threads, one at a time, with an answered request's position, the moment it was due
            (of ``time.perf_counter``), its latency in seconds and the answer; None looks at no answer.
    """
    stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
    due_count = max(1, round(rate * seconds))
    result = LoadResult(due_count)
    lock = threading.Lock()
    outstanding = threading.Semaphore(0)
    started = time.perf_counter() + 0.05

    def collect(call: grpc.Future[gateway_pb2.RecommendResponse], position: int, due: float) -> None:
        latency = time.perf_counter() - due
        error = call.exception()
        with lock:
            if error is None:
                answer = call.result()
                result.latencies.setdefault(gateway_pb2.Rung.Name(answer.rung), []).append(latency)
                if on_answer is not None:
                    on_answer(position, due, latency, answer)
            else:
                code = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
                result.errors[code] = result.errors.get(code, 0) + 1
        outstanding.release()

    for position in range(due_count):
        due = started + position / rate
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        else:
            result.latest_start_seconds = max(result.latest_start_seconds, -wait)
        call = stub.Recommend.future(requests[position % len(requests)], timeout=timeout_seconds)
        call.add_done_callback(lambda done, position=position, due=due: collect(done, position, due))
        if position % 50 == 0:
            on_progress(position)
    for _ in range(due_count):
        outstanding.acquire()
    on_progress(due_count)
    result.seconds = time.perf_counter() - started
    return result
