from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.ranking import RankingAdapter
from gateway.adapters.retrieval import RetrievalAdapter
from gateway.adapters.routes import StageRoutes
from gateway.adapters.sharded_retrieval import ShardedRetrievalAdapter
from gateway.engine.catalogue import Catalogue
from gateway.engine.generation_choice import Held
from gateway.engine.ladder import NoCommonGeneration
from gateway.engine.stages import Route
from tests.unit.gateway.catalogue import publish_items
from twostage.errors import NotReady
from twostage.rpc.calls import Calls
from twostage.rpc.channels import Replicas

NUMBERS = (1, 2, 3)
HELD: st.SearchStrategy[Held] = st.none() | st.frozensets(st.sampled_from(NUMBERS), min_size=1, max_size=2)
THREE = st.tuples(HELD, HELD, HELD)


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Catalogue]:
    """Three generations, each with one item more than the one before."""
    path: Path = tmp_path_factory.mktemp("store")
    return {number: Catalogue(publish_items(path, popularity=[1.0] * number)) for number in NUMBERS}


class Stages:
    """Two shards or one retrieval, and ranking, each of three replicas: connections that nobody answers or watches."""

    def __init__(self) -> None:
        self.shards = [self._replicas(), self._replicas()]
        self.calls = [Calls(replicas) for replicas in self.shards]
        self.ranking = self._replicas()

    def _replicas(self) -> Replicas[Any]:
        return Replicas("127.0.0.1:1", lambda _channel: None, connection_count=3)

    def hold(self, *parts: Sequence[Held]) -> None:
        """Says what is known of the replicas of each part, ranking last."""
        for replicas, held in zip([*self.shards[: len(parts) - 1], self.ranking], parts, strict=True):
            for replica, each in zip(replicas.connections(), held, strict=True):
                replica.held = each

    def routes(self, own: Sequence[Catalogue], shard_count: int = 1) -> StageRoutes:
        held = tuple(own)
        return StageRoutes(lambda: held, self.calls[:shard_count], Calls(self.ranking))


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    opened = Stages()
    yield opened
    for replicas in (*opened.shards, opened.ranking):
        replicas.close()


def of(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def chosen_replica(route: Route[Any]) -> Any:
    assert isinstance(route.retrieval, RetrievalAdapter)
    assert route.retrieval._chosen is not None
    return route.retrieval._chosen


def whom_ranking_asks(stages: Stages, generation: int) -> Any:
    return stages.ranking.pick(holding=(generation,))


@given(own=st.permutations(NUMBERS), own_count=st.integers(1, 2), retrieval=THREE, ranking=THREE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whenever_a_generation_is_common_to_all_the_choice_is_one_and_nobody_asked_lacks_it(
    catalogues: dict[int, Catalogue],
    stages: Stages,
    own: list[int],
    own_count: int,
    retrieval: tuple[Held, ...],
    ranking: tuple[Held, ...],
) -> None:
    stages.hold(retrieval, ranking)
    mine = own[:own_count]
    route = stages.routes([catalogues[number] for number in mine]).choose()
    common = [
        number
        for number in mine
        if all(any(held is not None and number in held for held in part) for part in (retrieval, ranking))
    ]
    if common:
        assert route.catalogue.number in common
        assert isinstance(route.ranking, RankingAdapter)
        # Only replicas that hold it are asked: no answer mixes two.
        assert route.catalogue.number in chosen_replica(route).held
        assert route.catalogue.number in whom_ranking_asks(stages, route.catalogue.number).held
    assert route.catalogue.number in mine


@given(own=st.permutations(NUMBERS), first=THREE, second=THREE, ranking=THREE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_with_shards_every_one_of_them_holds_the_choice(
    catalogues: dict[int, Catalogue],
    stages: Stages,
    own: list[int],
    first: tuple[Held, ...],
    second: tuple[Held, ...],
    ranking: tuple[Held, ...],
) -> None:
    stages.hold(first, second, ranking)
    route = stages.routes([catalogues[number] for number in own[:2]], shard_count=2).choose()
    parts = (first, second, ranking)
    common = [n for n in own[:2] if all(any(held is not None and n in held for held in part) for part in parts)]
    if common:
        assert route.catalogue.number in common
        assert isinstance(route.retrieval, ShardedRetrievalAdapter)
        for replicas in stages.shards:
            assert route.catalogue.number in (replicas.pick(holding=(route.catalogue.number,)).held or ())


def test_the_active_generation_is_preferred_to_a_higher_number(
    catalogues: dict[int, Catalogue], stages: Stages
) -> None:
    stages.hold([of(1, 2)] * 3, [of(1, 2)] * 3)
    assert stages.routes([catalogues[2], catalogues[1]]).choose().catalogue.number == 2
    assert stages.routes([catalogues[1], catalogues[2]]).choose().catalogue.number == 1


def test_a_replica_that_lags_takes_its_share_from_what_it_holds(
    catalogues: dict[int, Catalogue], stages: Stages
) -> None:
    stages.hold([of(2, 1), of(2, 1), of(1)], [of(2, 1), of(2), of(1)])
    routes = stages.routes([catalogues[2], catalogues[1]])
    taken = Counter((route.catalogue.number, chosen_replica(route)) for route in (routes.choose() for _ in range(30)))
    assert {number for number, replica in taken if replica is stages.shards[0].connections()[2]} == {1}
    assert {number for number, replica in taken if replica is not stages.shards[0].connections()[2]} == {2}
    assert set(taken.values()) == {10}


def test_a_replica_that_shares_nothing_is_passed_over(catalogues: dict[int, Catalogue], stages: Stages) -> None:
    stages.hold([of(1), of(2), of(3)], [of(2), of(2), of(2)])
    routes = stages.routes([catalogues[2], catalogues[1]])
    assert {chosen_replica(routes.choose()) for _ in range(9)} == {stages.shards[0].connections()[1]}


def test_while_nothing_is_known_the_active_one_is_asked_for(catalogues: dict[int, Catalogue], stages: Stages) -> None:
    stages.hold([None] * 3, [None] * 3)
    route = stages.routes([catalogues[2], catalogues[3]]).choose()
    assert route.catalogue.number == 2
    assert isinstance(route.ranking, RankingAdapter)


def test_a_stage_that_holds_nothing_in_common_is_not_asked_and_the_reason_names_who_holds_what(
    catalogues: dict[int, Catalogue], stages: Stages
) -> None:
    stages.hold([of(3, 2)] * 3, [of(1)] * 3)
    route = stages.routes([catalogues[3], catalogues[2]]).choose()
    assert chosen_replica(route) in stages.shards[0].connections()
    assert route.catalogue.number == 3
    with pytest.raises(NoCommonGeneration) as ranking:
        route.ranking.rank(None, None, None, generation=3, timeout_seconds=1)  # type: ignore[arg-type]
    assert ranking.value.reason == (
        "ranking unavailable: no generation in common: the gateway holds generations 3, 2, "
        "retrieval generations 3, 2, ranking generation 1"
    )

    stages.hold([of(1)] * 3, [of(3)] * 3)
    route = stages.routes([catalogues[3], catalogues[2]]).choose()
    with pytest.raises(NoCommonGeneration) as retrieval:
        route.retrieval.retrieve(None, None, generation=3, count=1, timeout_seconds=1)  # type: ignore[arg-type]
    assert retrieval.value.reason == (
        "retrieval unavailable: no generation in common: the gateway holds generations 3, 2, retrieval generation 1"
    )

    stages.hold([of(1)] * 3, [of(2)] * 3, [of(1)] * 3)
    route = stages.routes([catalogues[1]], shard_count=2).choose()
    with pytest.raises(NoCommonGeneration, match="retrieval shard 0 generation 1, retrieval shard 1 generation 2"):
        route.retrieval.retrieve(None, None, generation=1, count=1, timeout_seconds=1)  # type: ignore[arg-type]


def test_similar_items_need_retrieval_alone_and_a_generation_that_has_the_item(
    catalogues: dict[int, Catalogue], stages: Stages
) -> None:
    # i2 came with generation 3.
    stages.hold([of(3, 2), of(2), of(2)], [of(1)] * 3)
    routes = stages.routes([catalogues[3], catalogues[2]])
    assert {routes.choose_similar("i2").catalogue.number for _ in range(6)} == {3}
    assert {routes.choose_similar("i1").catalogue.number for _ in range(6)} == {3, 2}
    assert {routes.choose_similar("nix").catalogue.number for _ in range(6)} == {3, 2}
    stages.hold([of(2)] * 3, [of(1)] * 3)
    route = routes.choose_similar("i2")
    assert route.catalogue.number == 3
    with pytest.raises(NoCommonGeneration):
        route.retrieval.similar_items(None, generation=3, timeout_seconds=1)  # type: ignore[arg-type]


def test_what_the_gateway_holds_is_followed(catalogues: dict[int, Catalogue], stages: Stages) -> None:
    stages.hold([of(2, 1)] * 3, [of(2, 1)] * 3)
    held: list[tuple[Catalogue, ...]] = [()]
    routes = StageRoutes(lambda: held[0], stages.calls[:1], Calls(stages.ranking))
    with pytest.raises(NotReady, match="loading"):
        routes.choose()
    held[0] = (catalogues[1],)
    assert routes.choose().catalogue.number == 1
    held[0] = (catalogues[2], catalogues[1])
    assert routes.choose().catalogue.number == 2


def test_a_generation_that_the_gateway_let_go_of_is_kept_by_no_route(
    catalogues: dict[int, Catalogue], stages: Stages
) -> None:
    stages.hold([of(2, 1)] * 3, [of(2, 1)] * 3)
    dropped = Catalogue(catalogues[1].generation)
    gone = weakref.ref(dropped)
    held = [(dropped,)]
    routes = StageRoutes(lambda: held[0], stages.calls[:1], Calls(stages.ranking))
    assert routes.choose().catalogue.number == 1
    held[0] = (catalogues[2],)
    del dropped
    assert gone() is None


@pytest.mark.parametrize("shard_count", [1, 2])
def test_each_generation_that_is_chosen_is_told(
    catalogues: dict[int, Catalogue], stages: Stages, shard_count: int
) -> None:
    told: list[int] = []
    own = (catalogues[3], catalogues[2])
    routes = StageRoutes(lambda: own, stages.calls[:shard_count], Calls(stages.ranking), told.append)
    stages.hold(*[[of(3, 2)] * 3] * shard_count, [of(2, 1)] * 3)
    routes.choose()
    stages.hold(*[[of(3, 2)] * 3] * shard_count, [of(3, 2)] * 3)
    routes.choose()
    routes.choose_similar("i1")
    assert told == [2, 3, 3]
