"""Ranking follows CURRENT before a real model server process whose versions it names, requests all the while.

The tests share a store and the servers: each publishes what it needs and leaves the newest good generation active.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.integration.generations.servers import (
    Asked,
    Callers,
    ModelServer,
    publish,
    rank_request,
    ranking,
    until,
)
from tests.integration.ranking.reference import reference
from twostage.bundle.store import Store
from twostage.v1 import ranking_pb2


@functools.cache
def expected(seed: int) -> dict[int, float]:
    """The blended scores of all candidates by row, in NumPy."""
    request = rank_request()
    _, blended = reference(
        list(request.history.rows), list(request.candidates.rows), list(request.candidates.scores), seed
    )
    return dict(zip(request.candidates.rows, blended.tolist(), strict=True))


def check(response: ranking_pb2.RankResponse) -> None:
    """The answer is that of the generation it names: its scores, and the best of the candidates."""
    scores = expected(response.generation)
    received = [item.score for item in response.items]
    assert received == pytest.approx([scores[item.row] for item in response.items], abs=1e-4)
    assert received == pytest.approx(sorted(scores.values(), reverse=True)[: len(received)], abs=1e-4)


def test_the_reference_tells_generations_apart() -> None:
    assert np.abs(np.array(list(expected(1).values())) - np.array(list(expected(2).values()))).max() > 0.01


@dataclass
class World:
    path: Path
    model_server: ModelServer
    service: Asked

    @property
    def active(self) -> int:
        return self.service.held()[0]

    def holds(self, *numbers: int) -> bool:
        return self.service.held() == list(numbers)

    def rank(self, generation: int = 0, timeout: float = 10) -> ranking_pb2.RankResponse:
        response: ranking_pb2.RankResponse = self.service.stub.Rank(rank_request(generation), timeout=timeout)
        return response

    def publish(self, *, golden_offset: float = 0.0, current: bool = True) -> int:
        return publish(self.path, golden_offset=golden_offset, current=current)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ranking")
    path = folder / "store"
    publish(path)
    model_server = ModelServer(Store(path), folder / "models.config", [1])
    model_server.start()
    try:
        with ranking(
            path,
            model_server.address,
            model_config_file=model_server.config,
            model_retire_seconds=1.0,
            model_server_wait_seconds=20.0,
        ) as service:
            yield World(path, model_server, service)
    finally:
        model_server.stop()


def test_publishing_under_load_loses_no_request_and_each_answer_is_of_one_generation(world: World) -> None:
    first = world.active
    callers = Callers(world.rank)
    with callers.asking():
        for number in range(first + 1, first + 4):
            assert world.publish() == number
            until(functools.partial(world.holds, number, number - 1))
            old = world.rank(number - 1)
            assert old.generation == number - 1
            check(old)
            assert world.model_server.available() >= {number - 1, number}
        until(lambda: first + 3 in callers.generations)
    assert callers.errors == []
    for response in callers.responses:
        check(response)
    assert callers.generations == set(range(first, first + 4))
    assert not callers.went_back()


def test_the_model_server_holds_two_versions_between_swaps_and_three_during_one(world: World) -> None:
    number = world.publish()
    seen: list[set[int]] = []

    def swapped() -> bool:
        seen.append(world.model_server.available())
        return world.holds(number, number - 1)

    until(swapped)
    until(lambda: world.model_server.available() == {number, number - 1})
    assert max(len(versions) for versions in seen) <= 3


def test_a_rollback_is_served_at_once_and_forward_again(world: World) -> None:
    number = world.publish()
    until(lambda: world.holds(number, number - 1))
    callers = Callers(world.rank, count=1)
    with callers.asking():
        Store(world.path).set_current(number - 1)
        until(lambda: world.holds(number - 1, number), 5)
        assert world.rank().generation == number - 1
        Store(world.path).set_current(number)
        until(lambda: world.holds(number, number - 1), 5)
    assert callers.errors == []
    for response in callers.responses:
        check(response)


@pytest.mark.parametrize("damaged", ["ranking/default/candidates.npy", "model"])
def test_a_damaged_file_is_refused_and_the_old_generation_serves_on(world: World, damaged: str) -> None:
    active = world.active
    number = world.publish(current=False)
    path = world.path / "generations" / str(number) / damaged
    if damaged == "model":
        path = world.path / "models" / "default" / str(number) / "saved_model.pb"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    Store(world.path).set_current(number)
    until(lambda: number in world.service.refused())
    assert f"{path.name}: expected sha256" in world.service.refused()[number]
    assert world.rank().generation == active
    path.write_bytes(whole)
    (world.path / "generations" / str(number) / "manifest.json").touch()
    until(lambda: world.holds(number, active))
    check(world.rank())


def test_a_golden_answer_that_differs_is_refused_and_its_version_let_go(world: World) -> None:
    active = world.active
    number = world.publish(golden_offset=0.01)
    until(lambda: number in world.service.refused())
    assert "golden ranking 1 of 1" in world.service.refused()[number]
    assert world.rank().generation == active
    until(lambda: number not in world.model_server.available())
    good = world.publish()
    until(lambda: world.holds(good, active))


def test_a_model_without_a_folder_is_refused_and_never_named(world: World) -> None:
    active = world.active
    number = world.publish(current=False)
    folder = world.path / "models" / "default" / str(number)
    folder.rename(folder.with_name(".gone"))
    Store(world.path).set_current(number)
    until(lambda: number in world.service.refused())
    assert "no file" in world.service.refused()[number]
    assert f"versions: {number}" not in world.model_server.config.read_text()
    folder.with_name(".gone").rename(folder)
    (world.path / "generations" / str(number) / "manifest.json").touch()
    until(lambda: world.holds(number, active))


def test_a_model_server_that_is_killed_during_a_swap_finds_its_versions_again(world: World) -> None:
    active = world.active
    world.model_server.process.terminate()
    world.model_server.process.wait_stopped()
    with pytest.raises(grpc.RpcError) as failed:
        world.rank()
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    number = world.publish()
    until(lambda: world.service.status().preparing_generation == number)
    assert world.service.held()[0] == active
    world.model_server.start()
    until(lambda: world.holds(number, active), 60)
    check(world.rank(number))
    check(world.rank(active))


def test_a_stranger_who_writes_over_the_config_is_corrected(world: World) -> None:
    expected_text = world.model_server.config.read_text()
    world.model_server.config.write_text(f"# a stranger was here\n{expected_text}")
    until(lambda: world.model_server.config.read_text() == expected_text)


@pytest.mark.timeout(120)
def test_a_model_server_that_does_not_come_to_hold_a_model_is_asked_again_later(world: World) -> None:
    """A second service, which names no versions: it finds its model server hanging, and the model there later."""
    active = world.active
    with ranking(world.path, world.model_server.address, model_server_wait_seconds=0.3) as other:
        assert other.held()[0] == active
        process = world.model_server.process
        _signal(process.pid, signal.SIGSTOP)
        try:
            number = world.publish()
            until(lambda: number in other.refused())
            assert "waited 0.3 s (model_server_wait_seconds)" in other.refused()[number]
            assert other.held()[0] == active
        finally:
            _signal(process.pid, signal.SIGCONT)
        until(lambda: other.held()[:1] == [number], 60)
        assert number not in other.refused()
        check(other.stub.Rank(rank_request(number), timeout=10))
    until(lambda: world.holds(number, active), 60)


def _signal(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)


def test_a_generation_that_is_not_held_is_refused_with_those_that_are(world: World) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        world.rank(10_000)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
