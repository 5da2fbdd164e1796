"""No answer mixes two generations, whoever lags, while generations come and are taken back.

The tests share the servers and run in their order: each moves the store on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.gateway.fleet import (
    Callers,
    Expected,
    Publisher,
    ask,
    check,
    expected,
    fleet,
    gateway,
    held,
    ranking,
    retrieval,
    until,
)
from twostage.client import Client
from twostage.v1 import gateway_pb2

pytestmark = pytest.mark.timeout(180)


@dataclass
class Served:
    """A gateway before two replicas of retrieval, one of which lags, and one of ranking."""

    publisher: Publisher
    following: str
    lagging: str
    ranking: str
    client: Client
    expected: dict[int, Expected]

    def learn(self, generation: int) -> None:
        self.expected[generation] = expected(generation, self.following, self.ranking)

    def reach(self, *generations: int) -> None:
        """Waits until all but the one that lags hold these, as far as the gateway knows."""
        everybody = {"gateway", self.following, self.ranking}
        until(lambda: all(held(self.client)[name] == set(generations) for name in everybody))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        publisher = stack.enter_context(fleet(folder))
        publisher.publish()
        lagging = stack.enter_context(retrieval(publisher, generation=1))
        following = stack.enter_context(retrieval(publisher))
        ranker = stack.enter_context(ranking(publisher))
        client = stack.enter_context(gateway(publisher, f"{following},{lagging}", ranker, folder / "users.sqlite"))
        served = Served(publisher, following, lagging, ranker, client, {})
        served.reach(2, 1)
        served.learn(1)
        served.learn(2)
        yield served


def test_a_replica_that_lags_is_asked_for_what_it_holds(served: Served) -> None:
    answers = [ask(served.client) for _ in range(40)]
    for answer in answers:
        assert (answer.rung, answer.rung_reason) == (gateway_pb2.RUNG_FULL, "")
        check(answer, served.expected)
    by_generation = {n: sum(answer.generation == n for answer in answers) for n in (1, 2)}
    # In turn, as idle replicas are, but for the first ones, when the gateway may not have heard of both, and for those
    # that a slow moment sends elsewhere.
    assert min(by_generation.values()) >= 5


def test_publishing_while_requests_run_mixes_nothing_and_fails_nothing(served: Served) -> None:
    callers = Callers(served.client)
    with callers.asking():
        assert served.publisher.publish() == 3
        served.reach(3, 2)
        callers.until_generation(3)
        callers.more(50)
    served.learn(3)
    assert callers.errors == []
    assert {answer.rung_reason for answer in callers.answers} == {""}
    assert {answer.rung for answer in callers.answers} == {gateway_pb2.RUNG_FULL}
    for answer in callers.answers:
        check(answer, served.expected)
    assert {1, 2, 3} == {answer.generation for answer in callers.answers}
    # The one that lags shares nothing with the others any more, so nobody asks it.
    assert {ask(served.client).generation for _ in range(10)} == {3}


def test_a_rollback_is_followed_though_the_newer_one_is_held_by_all(served: Served) -> None:
    callers = Callers(served.client)
    with callers.asking():
        served.publisher.store.set_current(2)
        callers.until_generation(2)
        callers.more(50)
    assert callers.errors == []
    for answer in callers.answers:
        assert answer.rung == gateway_pb2.RUNG_FULL
        check(answer, served.expected)
    assert {answer.generation for answer in callers.answers[-20:]} == {2}
    assert held(served.client)["gateway"] == {3, 2}
    served.publisher.store.set_current(3)
    until(lambda: ask(served.client).generation == 3)


def test_a_stage_that_never_gets_the_new_one_is_asked_for_the_old_one_as_long_as_people_ask_for_it(
    served: Served, tmp_path: Path
) -> None:
    with (
        ranking(served.publisher, generation=2) as stuck,
        gateway(served.publisher, served.following, stuck, tmp_path / "users.sqlite") as client,
    ):
        until(lambda: held(client) == {"gateway": {3, 2}, served.following: {3, 2}, stuck: {2}})
        callers = Callers(client)
        with callers.asking():
            # As long as it takes until those who ask for 3 are forgotten.
            time.sleep(4)
            assert served.publisher.publish() == 4
            until(lambda: held(client) == {"gateway": {4, 2}, served.following: {4, 2}, stuck: {2}})
            until(lambda: ask(client).generation == 2)
        assert callers.errors == []
        for answer in callers.answers:
            assert (answer.rung, answer.generation) == (gateway_pb2.RUNG_FULL, 2)
            check(answer, served.expected)

        # The swaps that nobody asks for anything between leave no common one.
        for number, kept in ((5, 2), (6, 5)):
            assert served.publisher.publish() == number
            until(lambda: held(client) == {"gateway": {number, kept}, served.following: {number, kept}, stuck: {2}})  # noqa: B023
            until(lambda: number in held(served.client)[served.ranking])  # noqa: B023
        answer = ask(client)
        assert (answer.rung, answer.generation, len(answer.recommendations)) == (
            gateway_pb2.RUNG_RETRIEVAL_ORDER,
            6,
            10,
        )
        assert answer.rung_reason == (
            "ranking unavailable: no generation in common: the gateway holds generations 6, 5, "
            "retrieval generations 6, 5, ranking generation 2"
        )
        assert client.similar_items("item-3").rung == gateway_pb2.RUNG_FULL
        # A replica of ranking that has it is all that was missing.
        with gateway(
            served.publisher, served.following, f"{stuck},{served.ranking}", tmp_path / "other.sqlite"
        ) as healed:
            until(lambda: ask(healed).rung == gateway_pb2.RUNG_FULL)
            served.learn(6)
            for _ in range(10):
                answer = ask(healed)
                assert (answer.rung, answer.generation) == (gateway_pb2.RUNG_FULL, 6)
                check(answer, served.expected)


def test_a_gateway_is_held_back_by_nobody_it_does_not_need(served: Served, tmp_path: Path) -> None:
    """A gateway pinned to an older generation answers from that one, whole, for as long as the stages hold it."""
    with gateway(served.publisher, served.following, served.ranking, tmp_path / "users.sqlite", generation=5) as client:
        until(lambda: ask(client).rung == gateway_pb2.RUNG_FULL)
        served.learn(5)
        answer = ask(client)
        assert answer.generation == 5
        check(answer, served.expected)
