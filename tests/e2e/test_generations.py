"""A second generation published and taken back while people ask, by the command line alone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Self

import grpc
import pytest

from tests.e2e.command_line import Up, answered, twostage
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def up(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(store, tmp_path_factory.mktemp("users") / "users.sqlite")
    try:
        running.wait(lambda: "Ready." in running.printed, 120)
        yield running
    finally:
        if running.process.poll() is None:
            assert running.stop() == 0, running.printed


class Asking:
    """People who ask all the time, one after the other, until the block ends."""

    def __init__(self, address: str, store: Store) -> None:
        self.answers: list[gateway_pb2.RecommendResponse] = []
        self.errors: list[str] = []
        self._address = address
        self._people = [person.user_id for person in known_people(store, limit=20, least_count=5)]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
            while not self._done.wait(0.02):
                user = self._people[len(self.answers) % len(self._people)]
                try:
                    self.answers.append(stub.Recommend(gateway_pb2.RecommendRequest(user_id=user), timeout=5))
                except grpc.RpcError as error:
                    self.errors.append(str(error))


def test_a_published_generation_is_served_and_taken_back_without_one_bad_answer(up: Up, store: Store) -> None:
    assert up.recommend("--count", "5")["generation"] == "1"
    with Asking(up.address, store) as asking:
        answered("index", "tune", "--store", str(store.path), "--publish")
        up.wait(lambda: asking.answers[-1].generation == 2)
        rolled_back = answered("generations", "rollback", "--store", str(store.path))
        up.wait(lambda: asking.answers[-1].generation == 1)
    assert "2" in rolled_back
    assert "1" in rolled_back
    assert not asking.errors
    assert {answer.rung for answer in asking.answers} == {gateway_pb2.RUNG_FULL}
    assert {len(answer.recommendations) for answer in asking.answers} == {20}
    swaps = [answer.generation for answer in asking.answers]
    changes = [(before, after) for before, after in pairwise(swaps) if before != after]
    assert changes == [(1, 2), (2, 1)], "a swap goes one way, at once"


def test_status_tells_both_generations_and_which_is_active(up: Up) -> None:
    printed = answered("status", "--address", up.address)
    assert printed.count("SERVING") == 3
    assert "1" in printed
    assert "2" in printed


def test_a_damaged_generation_is_refused_by_name_and_the_old_one_serves_on(up: Up, store: Store) -> None:
    spoilt = store.generations_path / "3"
    shutil.copytree(store.generations_path / "2", spoilt)
    (store.path / "CURRENT").write_text("3\n", encoding="ascii")

    def told() -> bool:
        return "refused" in answered("status", "--address", up.address)

    up.wait(told)
    answer = up.recommend("--count", "5")
    assert (answer["generation"], answer["rung"]) == ("1", "RUNG_FULL")
    done = twostage("generations", "rollback", "--store", str(store.path))
    assert done.returncode == 0, done.stderr
