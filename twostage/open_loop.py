"""An open-loop load: requests leave on schedule, whether or not earlier ones have come back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray

from twostage.v1 import gateway_pb2, gateway_pb2_grpc

REFUSED = "RESOURCE_EXHAUSTED"
"""The status code of requests that the gateway refused for want of room; every other code is a failure."""


class Outcome(NamedTuple):
    """What came of one request.

    Args:
        due_seconds: When it was due, from the first one on.
        latency_seconds: From then until its answer or its error.
        name: The rung of its answer, e.g. ``RUNG_FULL``, or the code of its error, e.g. ``UNAVAILABLE``.
        answered: True for an answer.
    """

    due_seconds: float
    latency_seconds: float
    name: str
    answered: bool


@dataclass
class LoadResult:
    """What came back.

    Latencies are seconds from the moment a request was due, not from when it left, so that a generator or a server
    that falls behind shows (coordinated omission).

    Args:
        due_count: Requests that were due, all of which were sent.
        rate: How many of them in a second.
        timeout_seconds: Each one's deadline; an answer that takes longer is none.
        seconds: From the first due moment to the last answer.
        sending_seconds: From the first due moment until the last request had left.
        outcomes: What came of each, in the order in which they ended.
        latest_start_seconds: The most that a request left after it was due.
        generator_cpu_seconds: Processor time of the generator meanwhile.
    """

    due_count: int
    rate: float = 0.0
    timeout_seconds: float = float("inf")
    seconds: float = 0.0
    sending_seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    latest_start_seconds: float = 0.0
    generator_cpu_seconds: float = 0.0

    @classmethod
    def merged(cls, results: Iterable[LoadResult]) -> LoadResult:
        """What several generators brought back that ran at the same time; at least one."""
        parts = list(results)
        return cls(
            due_count=sum(part.due_count for part in parts),
            rate=sum(part.rate for part in parts),
            timeout_seconds=parts[0].timeout_seconds,
            seconds=max(part.seconds for part in parts),
            sending_seconds=max(part.sending_seconds for part in parts),
            outcomes=[outcome for part in parts for outcome in part.outcomes],
            latest_start_seconds=max(part.latest_start_seconds for part in parts),
            generator_cpu_seconds=sum(part.generator_cpu_seconds for part in parts),
        )

    @property
    def latencies(self) -> dict[str, list[float]]:
        """The answers' latencies in seconds, by rung."""
        return self._by_name(answered=True)

    @property
    def error_latencies(self) -> dict[str, list[float]]:
        """The failed requests' latencies in seconds, by status code; refusals are `REFUSED`."""
        return self._by_name(answered=False)

    @property
    def errors(self) -> dict[str, int]:
        """How many failed, refusals included, by status code."""
        return dict(Counter(outcome.name for outcome in self.outcomes if not outcome.answered))

    @property
    def sent_per_second(self) -> float:
        """Requests that left in a second; below the rate where the generator did not keep up."""
        # The last one leaves one interval before the end of its second.
        interval = 1 / self.rate if self.rate else 0.0
        return self.due_count / max(self.sending_seconds + interval, self.due_count * interval)

    def in_time(self, rung: str | None = None) -> int:
        """How many were answered before their deadline; those on one rung, or on any."""
        return sum(
            outcome.answered
            and outcome.latency_seconds <= self.timeout_seconds
            and (rung is None or outcome.name == rung)
            for outcome in self.outcomes
        )

    def goodput(self, rung: str | None = None) -> float:
        """Requests of each second that were answered before their deadline; those on one rung, or on any."""
        return self.in_time(rung) * self.rate / self.due_count

    def percentiles(self, rung: str, shares: Sequence[float]) -> NDArray[np.float64]:
        """Percentiles (0..100) of one rung's latencies, in seconds."""
        percentiles: NDArray[np.float64] = np.percentile(np.array(self.latencies[rung]), shares)
        return percentiles

    def _by_name(self, *, answered: bool) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            if outcome.answered is answered:
                found.setdefault(outcome.name, []).append(outcome.latency_seconds)
        return found


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
        timeout_seconds: Each request's deadline, from when it leaves.
        on_progress: Called with the number of requests sent so far.
        on_answer: Called from other threads, one at a time, with an answered request's position, the moment it was due
            (of ``time.perf_counter``), its latency in seconds and the answer; None looks at no answer.
    """
    stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
    due_count = max(1, round(rate * seconds))
    result = LoadResult(due_count, rate=rate, timeout_seconds=timeout_seconds)
    lock = threading.Lock()
    outstanding = threading.Semaphore(0)
    cpu = time.process_time()
    started = time.perf_counter() + 0.05

    def collect(call: grpc.Future[gateway_pb2.RecommendResponse], position: int, due: float) -> None:
        latency = time.perf_counter() - due
        error = call.exception()
        with lock:
            if error is None:
                answer = call.result()
                result.outcomes.append(Outcome(due - started, latency, gateway_pb2.Rung.Name(answer.rung), True))
                if on_answer is not None:
                    on_answer(position, due, latency, answer)
            else:
                code = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
                result.outcomes.append(Outcome(due - started, latency, code, False))
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
    result.sending_seconds = time.perf_counter() - started
    for _ in range(due_count):
        outstanding.acquire()
    on_progress(due_count)
    result.seconds = time.perf_counter() - started
    result.generator_cpu_seconds = time.process_time() - cpu
    return result
