"""The load generator: a process of its own that sends on schedule and looks at every answer."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from benchmarks.whole.answers import COUNT, Answer, Asked, Noted, noted
from benchmarks.whole.http_load import OK, run_http_load
from twostage.gateway_access import GatewayAccess
from twostage.load.open_loop import run_load
from twostage.load.result import FULL, LoadResult
from twostage.v1 import common_pb2, gateway_pb2

_CONNECT_SECONDS = 30.0


class Target(NamedTuple):
    """Where requests go.

    Args:
        address: ``host:port``.
        is_grpc: Whether it is our contract over gRPC; else it is JSON over HTTP.
    """

    address: str
    is_grpc: bool

    @property
    def whole(self) -> str:
        """The name of a whole answer's outcome."""
        return FULL if self.is_grpc else OK


class Load(NamedTuple):
    """What came of a load.

    Args:
        result: Latencies and errors.
        answers: Every answer that came, in the order in which they came.
    """

    result: LoadResult
    answers: list[Noted]


def joined(loads: Sequence[Load]) -> Load:
    """Loads of one rate that followed one another, as one; at least one."""
    result = LoadResult.merged([load.result for load in loads])
    result.rate = loads[0].result.rate
    return Load(result, [answer for load in loads for answer in load.answers])


def as_message(asked: Asked) -> gateway_pb2.RecommendRequest:
    """A request of our contract."""
    message = gateway_pb2.RecommendRequest(user_id=asked.user_id, count=COUNT)
    if asked.wanted is not None:
        condition = common_pb2.Condition(attribute=asked.wanted.attribute, any_of=[asked.wanted.value])
        message.filter.conditions.append(condition)
    return message


def of_message(message: gateway_pb2.RecommendResponse) -> Answer:
    """An answer of our contract."""
    return Answer(
        [item.item_id for item in message.recommendations],
        message.shortfall.missing_count,
        gateway_pb2.Rung.Name(message.rung),
        message.generation,
    )


def as_json(asked: Asked) -> dict[str, Any]:
    """A request of the peers."""
    body: dict[str, Any] = {"user_id": asked.user_id, "count": COUNT}
    if asked.wanted is not None:
        body["filter"] = asked.wanted._asdict()
    return body


class Generator:
    """Sends requests from a process of its own.

    Args:
        target: Where to.
        asked: Sent in turn, over and over.
        cores: The cores that it may use, all when empty.
    """

    def __init__(self, target: Target, asked: Sequence[Asked], cores: Collection[int] = ()) -> None:
        self.target = target
        self._asked = tuple(asked)
        # Spawned, not forked: gRPC's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(tuple(sorted(cores)),))

    def begin(self, *, rate: float, seconds: float, timeout_seconds: float) -> Future[Load]:
        """Starts a load; see `twostage.load.open_loop.run_load`."""
        return self._pool.submit(_run, _Work(self.target, self._asked, rate, seconds, timeout_seconds))

    def run(self, *, rate: float, seconds: float, timeout_seconds: float) -> Load:
        """A load from its start to its last answer."""
        return self.begin(rate=rate, seconds=seconds, timeout_seconds=timeout_seconds).result()

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def generator(target: Target, asked: Sequence[Asked], cores: Collection[int] = ()) -> Iterator[Generator]:
    """A `Generator` that ends with the block."""
    made = Generator(target, asked, cores)
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class _Work:
    target: Target
    asked: tuple[Asked, ...]
    rate: float
    seconds: float
    timeout_seconds: float


def _begin(cores: tuple[int, ...]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


def _run(work: _Work) -> Load:
    answers: list[Noted] = []
    asked = work.asked
    timing: Any = {"rate": work.rate, "seconds": work.seconds, "timeout_seconds": work.timeout_seconds}

    def take(position: int, due: float, latency: float, answer: Answer) -> None:
        answers.append(noted(asked[position % len(asked)], answer, due, latency))

    if not work.target.is_grpc:
        bodies = [json.dumps(as_json(each)).encode() for each in asked]
        result = run_http_load(
            work.target.address,
            "/recommend",
            bodies,
            **timing,
            on_answer=lambda position, due, latency, body: take(position, due, latency, Answer(body["item_ids"])),
        )
        return Load(result, answers)
    with GatewayAccess().channel(work.target.address) as channel:
        grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
        result = run_load(
            channel,
            [as_message(each) for each in asked],
            **timing,
            on_answer=lambda position, due, latency, message: take(position, due, latency, of_message(message)),
        )
    return Load(result, answers)
