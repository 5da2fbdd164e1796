"""An open-loop load by several generators at once, each a process, for one in Python is the first to be saturated."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import grpc

from twostage.gateway_access import GatewayAccess
from twostage.load.open_loop import run_load
from twostage.load.requests import LoadRequest, Message, load_channel, load_requests
from twostage.load.result import LoadResult

_CONNECT_SECONDS = 30.0
# What the processes are given to receive their work before the first request is due.
_START_SECONDS = 0.3


@dataclass(frozen=True)
class _Work:
    """What one generator does; it travels to another process."""

    address: str
    access: GatewayAccess
    requests: tuple[tuple[str, str, bytes], ...]
    rate: float
    seconds: float
    timeout_seconds: float
    keep_outcomes: bool
    begins_at: float


class Generators:
    """Processes that send requests; started once and used for several loads.

    Args:
        address: The gateway.
        requests: Sent in turn, over and over, by each process from another place on.
        access: TLS and credentials.
        process_count: How many processes.
        cores: The cores that they may use, all when empty.
    """

    def __init__(
        self,
        address: str,
        requests: Sequence[Message | LoadRequest],
        *,
        access: GatewayAccess | None = None,
        process_count: int = 1,
        cores: Collection[int] = (),
    ) -> None:
        access = access if access is not None else GatewayAccess()
        if callable(access.token):
            # A function is not sent to another process; what it tells now is.
            access = replace(access, token=access.token())
        self._address = address
        self._access = access
        self._requests = tuple(request.packed() for request in load_requests(requests))
        self._process_count = process_count
        # Spawned, not forked: gRPC's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            process_count, mp_context=context, initializer=_begin, initargs=(tuple(sorted(cores)),)
        )

    def run(self, *, rate: float, seconds: float, timeout_seconds: float, keep_outcomes: bool = True) -> LoadResult:
        """Sends ``rate`` requests a second, shared by all processes; see `twostage.load.open_loop.run_load`."""
        count = self._process_count
        begins_at = time.time() + _START_SECONDS
        works = []
        for position in range(count):
            start = position * len(self._requests) // count
            requests = self._requests[start:] + self._requests[:start]
            # Each one's requests fall into the gaps of the others'.
            moment = begins_at + position / rate
            each = rate / count, seconds, timeout_seconds, keep_outcomes
            works.append(_Work(self._address, self._access, requests, *each, moment))
        return LoadResult.merged(self._pool.map(_run, works))

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def generators(
    address: str,
    requests: Sequence[Message | LoadRequest],
    *,
    access: GatewayAccess | None = None,
    process_count: int = 1,
    cores: Collection[int] = (),
) -> Iterator[Generators]:
    """Starts `Generators` and ends them."""
    made = Generators(address, requests, access=access, process_count=process_count, cores=cores)
    try:
        yield made
    finally:
        made.close()


def _begin(cores: tuple[int, ...]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


def _run(work: _Work) -> LoadResult:
    requests = [LoadRequest.unpacked(each) for each in work.requests]
    with load_channel(work.access, work.address) as channel:
        grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
        time.sleep(max(0.0, work.begins_at - time.time()))
        return run_load(
            channel,
            requests,
            rate=work.rate,
            seconds=work.seconds,
            timeout_seconds=work.timeout_seconds,
            keep_outcomes=work.keep_outcomes,
        )
