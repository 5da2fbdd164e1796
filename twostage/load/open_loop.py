"""An open-loop load: requests leave on schedule, whether or not earlier ones have come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from twostage.load.requests import LoadRequest, Message, Sender, judge, load_requests
from twostage.load.result import LoadResult, Outcome, interval_seconds_of
from twostage.v1 import gateway_pb2


def run_load(
    channel: grpc.Channel,
    requests: Sequence[Message | LoadRequest],
    *,
    rate: float,
    seconds: float,
    timeout_seconds: float,
    on_progress: Callable[[int], None] = lambda _: None,
    on_answer: Callable[[int, float, float, gateway_pb2.RecommendResponse], None] | None = None,
    keep_outcomes: bool = True,
) -> LoadResult:
    """Sends ``rate`` requests a second, evenly spaced, for ``seconds``, and waits for the answers.

    Args:
        channel: To the gateway.
        requests: Sent in turn, over and over.
        rate: Requests a second, above 0.
        seconds: How long, above 0.
        timeout_seconds: Each request's deadline, from when it leaves.
        on_progress: Called with the number of requests sent so far.
        on_answer: Called from other threads, one at a time, with an answered Recommend's position, the moment it was
            due (of ``time.perf_counter``), its latency in seconds and the answer; None looks at no answer.
        keep_outcomes: False keeps no list of what came of each, which grows with every request.
    """
    sender = Sender(channel)
    planned = load_requests(requests)
    due_count = max(1, round(rate * seconds))
    result = LoadResult(
        due_count,
        rate=rate,
        timeout_seconds=timeout_seconds,
        outcomes=[] if keep_outcomes else None,
        interval_seconds=interval_seconds_of(seconds),
    )
    lock = threading.Lock()
    outstanding = threading.Semaphore(0)
    cpu = time.process_time()
    started = time.perf_counter() + 0.05

    def collect(call: grpc.Future[Any], request: LoadRequest, position: int, due: float) -> None:
        latency = time.perf_counter() - due
        answer = None
        try:
            error = call.exception()
            if error is None:
                answer = call.result()
                name, answered, missing_count = judge(request.message, answer)
            else:
                name = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
                answered, missing_count = False, 0
            with lock:
                result.record(Outcome(due - started, latency, name, answered, request.kind, missing_count))
                if on_answer is not None and isinstance(answer, gateway_pb2.RecommendResponse):
                    on_answer(position, due, latency, answer)
        finally:
            outstanding.release()

    for position in range(due_count):
        due = started + position / rate
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        else:
            result.latest_start_seconds = max(result.latest_start_seconds, -wait)
        request = planned[position % len(planned)]
        call = sender.send(request, timeout_seconds)
        call.add_done_callback(
            lambda done, request=request, position=position, due=due: collect(done, request, position, due)
        )
        if position % 50 == 0:
            on_progress(position)
    result.sending_seconds = time.perf_counter() - started
    for _ in range(due_count):
        outstanding.acquire()
    on_progress(due_count)
    result.seconds = time.perf_counter() - started
    result.generator_cpu_seconds = time.process_time() - cpu
    return result
