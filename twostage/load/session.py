"""Loads one after another on one gateway: one rate, a sweep, or a search for what it can answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from twostage.gateway_access import GatewayAccess
from twostage.load.open_loop import run_load
from twostage.load.processes import Generators, generators
from twostage.load.requests import LoadRequest, Message, load_channel
from twostage.load.result import LoadResult
from twostage.load.saturation import Saturation, find_saturation
from twostage.load.sweep import Sweep


@dataclass(frozen=True)
class LoadSession:
    """What is asked of whom.

    Args:
        address: The gateway.
        access: TLS and credentials.
        requests: Sent in turn, over and over.
        timeout_seconds: Each one's deadline.
        process_count: How many processes send.

    Every method raises ``grpc.FutureTimeoutError`` where processes of their own send and cannot reach the gateway.
    """

    address: str
    access: GatewayAccess
    requests: Sequence[Message | LoadRequest]
    timeout_seconds: float
    process_count: int = 1

    def one(
        self,
        rate: float,
        seconds: float,
        *,
        keep_outcomes: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> LoadResult:
        """Offers one rate, from this process where one is enough.

        Args:
            rate: Requests a second.
            seconds: How long.
            keep_outcomes: Whether to keep what came of each request.
            on_progress: Called with the number of requests sent so far; not where several processes send.
        """
        if self.process_count > 1:
            with self._generators() as made:
                return made.run(
                    rate=rate, seconds=seconds, timeout_seconds=self.timeout_seconds, keep_outcomes=keep_outcomes
                )
        with load_channel(self.access, self.address) as channel:
            return run_load(
                channel,
                self.requests,
                rate=rate,
                seconds=seconds,
                timeout_seconds=self.timeout_seconds,
                keep_outcomes=keep_outcomes,
                on_progress=on_progress,
            )

    def sweep(self, rates: Sequence[float], seconds: float, on_rate: Callable[[float], None]) -> Sweep:
        """Offers each rate for so long; ``on_rate`` is told which, before it is offered."""
        results = []
        with self._generators() as made:
            for rate in rates:
                on_rate(rate)
                results.append(
                    made.run(rate=rate, seconds=seconds, timeout_seconds=self.timeout_seconds, keep_outcomes=False)
                )
        return Sweep(results)

    def search(self, first_rate: float, seconds: float, on_rate: Callable[[float], None]) -> tuple[Saturation, Sweep]:
        """Looks for what the gateway keeps up with; all rates that were tried, the lowest first, are the sweep."""
        results = []
        with self._generators() as made:

            def measure(rate: float) -> float:
                on_rate(rate)
                result = made.run(rate=rate, seconds=seconds, timeout_seconds=self.timeout_seconds, keep_outcomes=False)
                results.append(result)
                return result.goodput()

            found = find_saturation(measure, first_rate=first_rate)
        return found, Sweep(sorted(results, key=lambda result: result.rate))

    def _generators(self) -> AbstractContextManager[Generators]:
        return generators(self.address, self.requests, access=self.access, process_count=self.process_count)
