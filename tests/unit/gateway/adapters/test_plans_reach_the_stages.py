from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.retrieval_messages import retrieve_message
from gateway.adapters.routes import StageRoutes
from gateway.engine.catalogue import Catalogue
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from tests.unit.gateway.adapters.test_routes import Stages, of
from tests.unit.gateway.catalogue import publish_items
from twostage.v1 import retrieval_pb2

RANKS = retrieval_pb2.SourceRanks


def columns() -> retrieval_pb2.CandidateColumns:
    return retrieval_pb2.CandidateColumns(
        rows=[7, 8, 9, 10],
        scores=[0.5, 0.25, 0.125, 0.0],
        sources=[1, 2, 3, 4],
        source_ranks=[RANKS(source="SOURCE_POPULAR", ranks=[0, 1, 2, 0])],
    )


@pytest.mark.parametrize("positions", [[0, 1], [0, 3], [3, 1, 2], []])
def test_candidates_are_taken_with_everything_that_is_known_of_them(positions: list[int]) -> None:
    whole = CandidateMessage(columns())
    taken = whole.take(positions)
    assert len(taken) == len(positions)
    assert taken.rows().tolist() == [whole.rows()[position] for position in positions]
    assert taken.scores().tolist() == [whole.scores()[position] for position in positions]
    for index, position in enumerate(positions):
        assert taken.sources(index) == whole.sources(position)
        assert taken.source_ranks(index) == whole.source_ranks(position)
    assert whole.message == columns()


def message(request: RecommendRequest, included: Sequence[str] = ()) -> retrieval_pb2.RetrieveRequest:
    quotas = {"popular": 20, "user_vector": 0, "of tomorrow": 5}
    return retrieve_message(request, Person(), generation=1, count=50, quotas=quotas, include_item_ids=included)


def test_quotas_go_by_the_sources_names_and_unknown_ones_are_left_out() -> None:
    assert [(quota.source, quota.max_count) for quota in message(RecommendRequest()).quotas] == [
        (retrieval_pb2.SOURCE_POPULAR, 20),
        (retrieval_pb2.SOURCE_USER_VECTOR, 0),
    ]


def test_items_that_must_be_candidates_go_beside_the_pins_as_far_as_retrieval_takes_them() -> None:
    pins = [f"i{number}" for number in range(200)]
    assert list(message(RecommendRequest(pinned_item_ids=pins)).include_item_ids) == pins
    assert list(message(RecommendRequest(pinned_item_ids=pins), ["x"]).include_item_ids) == ["x", *pins[:-1]]
    assert list(message(RecommendRequest(), ["x"]).include_item_ids) == ["x"]


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, Catalogue]:
    path: Path = tmp_path_factory.mktemp("store")
    older, newer = (Catalogue(publish_items(path, popularity=[1.0, 2.0])) for _ in range(2))
    return newer, older


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    opened = Stages()
    yield opened
    for replicas in (*opened.shards, opened.ranking):
        replicas.close()


def test_a_preferred_generation_is_chosen_when_all_hold_it_and_else_the_choice_is_as_ever(
    stages: Stages, catalogues: tuple[Catalogue, Catalogue]
) -> None:
    routes: StageRoutes = stages.routes(catalogues)
    both = [of(1, 2)] * 3
    stages.hold(both, both)
    assert routes.choose().catalogue.number == 2
    assert routes.choose(1).catalogue.number == 1
    assert routes.choose(7).catalogue.number == 2
    stages.hold(both, [of(2)] * 3)
    assert routes.choose(1).catalogue.number == 2


def test_a_generation_is_held_as_long_as_the_gateway_holds_it(
    stages: Stages, catalogues: tuple[Catalogue, Catalogue]
) -> None:
    routes = stages.routes(catalogues)
    assert routes.held(1) is catalogues[1]
    assert routes.held(2) is catalogues[0]
    assert routes.held(3) is None
