from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from gateway.stage_watch import MISSES, StageWatch
from gateway.status import AskedStage
from twostage.rpc.channels import Replicas
from twostage.rpc.outliers import Outcome, OutlierPolicy, Outliers
from twostage.rpc.replica import Replica
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import common_pb2, ranking_pb2, ranking_pb2_grpc

QUESTION = ranking_pb2.RankingServiceGetStatusRequest()


class Told(ranking_pb2_grpc.RankingServiceServicer):
    """Tells what a test says, after as long as it says."""

    def __init__(self, *generations: int, serving: bool = True) -> None:
        self.generations, self.serving = generations, serving
        self.seconds = 0.0
        self.asked_count = 0
        self.on_question: Callable[[], None] = lambda: None

    def GetStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the contract's name
        del request, context
        self.asked_count += 1
        self.on_question()
        time.sleep(self.seconds)
        held = [common_pb2.GenerationStatus(generation=number) for number in self.generations]
        return ranking_pb2.RankingServiceGetStatusResponse(
            status=common_pb2.ServiceStatus(serving=self.serving, generations=held)
        )


@contextmanager
def serving(told: Told, port: int = 0) -> Iterator[ServiceServer]:
    def register(server: grpc.Server) -> None:
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(told, server)

    settings = ServiceSettings(port=port)
    with ServiceServer("ranking", [], register, settings, registry=CollectorRegistry()) as server:
        yield server


@contextmanager
def watching(
    target: str, *, poll_seconds: float = 60.0, timeout_seconds: float = 2.0, connection_count: int = 1
) -> Iterator[tuple[StageWatch, tuple[Replica[Any], ...]]]:
    watch = StageWatch(poll_seconds=poll_seconds, timeout_seconds=timeout_seconds)
    with Replicas(
        target, ranking_pb2_grpc.RankingServiceStub, connection_count=connection_count, on_change=watch.wake
    ) as replicas:
        watch.start([AskedStage("ranking", replicas, QUESTION)])
        try:
            yield watch, replicas.connections()
        finally:
            watch.close()


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.01)


def test_every_connection_is_asked_what_it_holds_and_asked_again() -> None:
    first, second = Told(2, 1), Told(1)
    with serving(first) as a, serving(second) as b:
        target = f"{a.address},{b.address}"
        with watching(target, poll_seconds=0.1, connection_count=2) as (_, connections):
            eventually(lambda: all(replica.held is not None for replica in connections))
            held = {(replica.address, replica.held) for replica in connections}
            assert held == {(a.address, frozenset((2, 1))), (b.address, frozenset([1]))}
            assert len(connections) == 4
            second.generations = (2, 1)
            eventually(lambda: all(replica.held == frozenset((2, 1)) for replica in connections))


def test_it_asks_at_once_when_woken_and_not_without_end() -> None:
    told = Told(1)
    with serving(told) as server, watching(server.address) as (watch, (replica,)):
        eventually(lambda: replica.held == frozenset([1]))
        told.generations = (2, 1)
        replica.correct([9])
        eventually(lambda: replica.held == frozenset((2, 1)))
        before = told.asked_count
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            watch.wake()
        assert told.asked_count - before <= 11


def test_of_one_that_does_not_serve_yet_or_is_gone_nothing_is_known() -> None:
    told = Told(1, serving=False)
    with serving(told) as server:
        port = server.port
        with watching(server.address, poll_seconds=0.05) as (_, (replica,)):
            eventually(lambda: told.asked_count > 1)
            assert replica.held is None
            told.serving = True
            eventually(lambda: replica.held == frozenset([1]))
            server.stop(0)
            eventually(lambda: replica.held is None)
            with serving(Told(3, 2), port=port):
                eventually(lambda: replica.held == frozenset((3, 2)))


def test_one_that_is_late_once_is_not_forgotten_and_one_that_hangs_is() -> None:
    told = Told(1)
    with serving(told) as server, watching(server.address, poll_seconds=0.02, timeout_seconds=0.1) as (_, (replica,)):
        eventually(lambda: replica.held == frozenset([1]))
        # What is known of it whenever it is asked and does not answer in time.
        known: list[frozenset[int] | None] = []
        told.on_question = lambda: known.append(replica.held)
        told.seconds = 0.4
        eventually(lambda: len(known) > MISSES)
        told.seconds = 0.0
        assert known[: MISSES + 1] == [frozenset([1])] * MISSES + [None]
        eventually(lambda: replica.held == frozenset([1]))


@pytest.mark.parametrize("started", [True, False])
def test_it_ends_promptly(started: bool) -> None:
    watch = StageWatch(poll_seconds=60, timeout_seconds=1)
    if started:
        watch.start([])
    before = time.monotonic()
    watch.close()
    assert time.monotonic() - before < 1


def test_one_that_was_put_aside_is_tried_as_soon_as_it_tells_its_status_again() -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=3600))
    told = Told(1)
    with serving(told) as server, serving(Told(1)) as other:
        watch = StageWatch(poll_seconds=0.05, timeout_seconds=0.1)
        target = f"{server.address},{other.address}"
        with Replicas(target, ranking_pb2_grpc.RankingServiceStub, outliers=outliers) as replicas:
            watch.start([AskedStage("ranking", replicas, QUESTION)])
            try:
                first = replicas.all()[0]
                eventually(lambda: first.held is not None)
                told.seconds = 0.4
                eventually(lambda: first.held is None)
                for _ in range(5):
                    first.note(Outcome.FAILED)
                assert first.aside
                assert not first.take_trial()
                told.seconds = 0.0
                eventually(first.take_trial)
            finally:
                watch.close()
