from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import Shard
from retrieval_service.engine.searching import ShardSearch
from retrieval_service.engine.user_tower import UserTower
from retrieval_service.held import Held
from retrieval_service.metrics import RetrievalMetrics
from retrieval_service.servicer import RetrievalServicer
from tests.bundles import user_tower_path
from tests.unit.retrieval_service.engine.memory_index import MemoryIndex
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.errors import GenerationNotLoaded, InvalidField, NotReady, NotWhole
from twostage.generations.keeper import Keeper
from twostage.v1 import common_pb2, retrieval_pb2

Request = retrieval_pb2.RetrieveRequest
SimilarRequest = retrieval_pb2.RetrievalServiceSimilarItemsRequest
NO_CONTEXT: Any = None  # the methods do not look at it


def serving(generation: Generation, engine: RetrievalEngine) -> RetrievalServicer:
    keeper = keeper_of(Held(generation, engine))
    keeper.start(pinned=generation.number)
    return RetrievalServicer(keeper, RetrievalMetrics(CollectorRegistry()))


def keeper_of(held: Held) -> Keeper[Held]:
    return Keeper(Store("unused"), lambda _: held, logger=structlog.get_logger())


@pytest.fixture(scope="module")
def shard(generation: Generation, engine: RetrievalEngine) -> RetrievalServicer:
    """The rows from 50 on, as shard 1 of 2."""
    part = MemoryIndex(engine.catalogue.vectors, 50, 200)
    tower = UserTower(user_tower_path(), 16, 50)
    return serving(generation, RetrievalEngine(engine.catalogue, tower, ShardSearch(part, Shard(1, 2))))


def test_a_shard_asked_for_everything_refuses(shard: RetrievalServicer) -> None:
    with pytest.raises(NotWhole, match="shard 1 of 2"):
        shard.Retrieve(Request(count=5), NO_CONTEXT)
    with pytest.raises(NotWhole, match="shard 1 of 2"):
        shard.SimilarItems(SimilarRequest(item_id="item-3", count=5), NO_CONTEXT)


def test_a_shard_answers_with_lists_of_its_rows(shard: RetrievalServicer) -> None:
    request = Request(history=common_pb2.History(rows=[42]), exclude_rows=[42, 7, 60, 60], count=30)
    request.shard.with_shared_sources = True
    response = shard.Retrieve(request, NO_CONTEXT)
    (near,) = response.lists
    assert (near.source, near.wanted_count, len(near.rows)) == (retrieval_pb2.SOURCE_USER_VECTOR, 30, 30)
    assert min(near.rows) >= 50
    assert 60 not in near.rows
    assert list(near.keys) == list(near.scores) == sorted(near.keys, reverse=True)
    assert response.allowed_count == 197
    assert (response.answered_shard.index, response.answered_shard.count) == (1, 2)
    assert (list(response.history_rows), response.generation) == ([42], 1)
    assert not response.candidates.rows
    assert [timing.stage for timing in response.timings] == ["resolve", "select", "user_tower", "search"]


@pytest.mark.parametrize(("with_shared_sources", "list_count"), [(True, 1), (False, 0)])
def test_one_shard_is_asked_for_what_all_know(
    shard: RetrievalServicer, with_shared_sources: bool, list_count: int
) -> None:
    request = Request(count=30)
    request.shard.with_shared_sources = with_shared_sources
    lists = shard.Retrieve(request, NO_CONTEXT).lists
    assert [(entry.source, len(entry.rows)) for entry in lists] == [(retrieval_pb2.SOURCE_POPULAR, 30)] * list_count
    assert not any(entry.keys for entry in lists)


def test_a_shard_answers_for_similar_items(shard: RetrievalServicer, engine: RetrievalEngine) -> None:
    request = SimilarRequest(item_id="item-60", count=200)
    request.shard.exhaustive = True
    response = shard.SimilarItems(request, NO_CONTEXT)
    (near,) = response.lists
    scores = engine.catalogue.vectors @ engine.catalogue.vectors[60]
    assert sorted(near.rows) == [row for row in range(50, 200) if row != 60]
    np.testing.assert_allclose(near.keys, scores[list(near.rows)], atol=1e-6)
    assert (near.wanted_count, response.allowed_count) == (200, 199)
    assert (response.answered_shard.index, response.answered_shard.count) == (1, 2)


def test_another_generation_and_none_are_refused(generation: Generation, engine: RetrievalEngine) -> None:
    with pytest.raises(GenerationNotLoaded):
        serving(generation, engine).SimilarItems(SimilarRequest(item_id="item-3", count=5, generation=9), NO_CONTEXT)
    for request in (Request(count=5, generation=-1), Request(count=5, generation=-(2**63))):
        with pytest.raises(InvalidField, match="generation: expected 0 for the active one"):
            serving(generation, engine).Retrieve(request, NO_CONTEXT)
    with pytest.raises(InvalidField, match="generation"):
        serving(generation, engine).SimilarItems(SimilarRequest(item_id="item-3", count=5, generation=-1), NO_CONTEXT)
    empty = RetrievalServicer(keeper_of(Held(generation, engine)), RetrievalMetrics(CollectorRegistry()))
    with pytest.raises(NotReady):
        empty.SimilarItems(SimilarRequest(), NO_CONTEXT)
