"""A server of known capacity in simulated time, and a load that is always there."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.admission.limit import Limit


class Clock:
    """Seconds that grow when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Run:
    """What came of a simulation: when requests finished, how long they took, and the limit after each."""

    finished_at: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    refused_count: int = 0

    def rate(self, start: float, stop: float) -> float:
        """Requests finished in a second."""
        return sum(start <= moment < stop for moment in self.finished_at) / (stop - start)

    def latency(self, start: float, stop: float) -> float:
        """The mean latency of those finished in a span."""
        some = [
            latency for moment, latency in zip(self.finished_at, self.latencies, strict=True) if start <= moment < stop
        ]
        return sum(some) / len(some)

    def limit(self, start: float, stop: float) -> float:
        """The mean limit in a span."""
        some = [limit for moment, limit in zip(self.finished_at, self.limits, strict=True) if start <= moment < stop]
        return sum(some) / len(some)


def simulate(
    limit: Limit,
    clock: Clock,
    *,
    server_count: int,
    service_seconds: Callable[[float], float],
    rate: Callable[[float], float],
    seconds: float,
    seed: int = 1,
    whole: Callable[[float], bool] = lambda _: True,
) -> Run:
    """Requests arrive at random, are refused above the limit, and are served by so many servers, first come first.

    Args:
        limit: What is tried.
        clock: Its clock.
        server_count: How many requests are served at once; the capacity is this over the mean service time.
        service_seconds: How long one takes, given the moment at which it begins.
        rate: Arrivals a second, given the moment.
        seconds: How long.
        seed: Of the arrivals.
        whole: Whether the answers are whole, given the moment.
    """
    generator = random.Random(seed)
    run = Run()
    free_at = [clock.now] * server_count
    heapq.heapify(free_at)
    ends: list[tuple[float, float, int]] = []
    in_flight = 0
    end = clock.now + seconds
    arrival = clock.now
    while arrival < end:
        arrival += generator.expovariate(rate(arrival))
        while ends and ends[0][0] <= arrival:
            finish, start, beside = heapq.heappop(ends)
            clock.now = finish
            in_flight -= 1
            limit.note("kind", finish - start, beside, whole=whole(finish))
            run.finished_at.append(finish)
            run.latencies.append(finish - start)
            run.limits.append(limit.value)
        clock.now = arrival
        if in_flight >= limit.value:
            run.refused_count += 1
            continue
        in_flight += 1
        begin = max(arrival, heapq.heappop(free_at))
        finish = begin + service_seconds(begin)
        heapq.heappush(free_at, finish)
        heapq.heappush(ends, (finish, arrival, in_flight))
    return run
