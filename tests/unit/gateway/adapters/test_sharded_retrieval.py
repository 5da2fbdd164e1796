from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.sharded_retrieval import ShardedRetrievalAdapter
from gateway.engine.ladder import StageWithoutGeneration
from gateway.engine.person import HistoryColumns, Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.engine.similar import SimilarRequest, SimilarRows
from tests.unit.gateway.adapters.asked_shards import ITEM_COUNT, ask, by, numbers, user_vector
from tests.unit.gateway.adapters.shards import Script, Search, late, serving
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.generation import Generation
from twostage.rpc.calls import Calls
from twostage.rpc.channels import Replicas
from twostage.v1 import retrieval_pb2_grpc


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[1.0] * ITEM_COUNT)


def test_the_best_of_all_shards_are_the_best_of_all_rows(generation: Generation) -> None:
    scores = np.round(numbers(1), 1)  # with ties
    with serving(user_vector(scores)) as (shards, targets, _):
        retrieved = ask(generation, targets, count=25, excluded=(3, 4))
    expected = by(scores, np.setdiff1d(np.arange(ITEM_COUNT), [3, 4]))[:25]
    assert retrieved.candidates.rows().tolist() == expected.tolist()
    assert retrieved.candidates.scores().tolist() == scores[expected].tolist()
    assert {retrieved.candidates.sources(index) for index in range(25)} == {("user_vector",)}
    assert retrieved.shortfall is None
    asked = [[(r.shard.with_shared_sources, r.shard.exhaustive) for r in shard.requests] for shard in shards]
    assert asked == [[(True, False)], [(False, False)], [(False, False)]]


def test_codes_choose_the_pool_of_all_shards_and_keys_order_it(generation: Generation) -> None:
    scores, codes = numbers(1), numbers(2)
    script = Script(scores, [Search("USER_VECTOR", scores, code_keys=codes, pool_count=20)])
    with serving(script) as (_, targets, _servers):
        rows = ask(generation, targets, count=12).candidates.rows()
    assert rows.tolist() == by(scores, by(codes)[:20])[:12].tolist()


def test_lists_that_are_short_are_searched_exhaustively_and_the_others_left_as_they_are(
    generation: Generation,
) -> None:
    scores, near = numbers(1), numbers(2)
    some = np.arange(ITEM_COUNT) < 12
    # The two nearest are overlooked, but the list is full.
    most = near < np.sort(near)[-2]
    script = Script(
        scores,
        [
            Search("NEIGHBOURS", near, wanted_count=5, seen=most),
            Search("USER_VECTOR", scores, seen=some),
        ],
    )
    with serving(script) as (shards, targets, _):
        retrieved = ask(generation, targets, count=30)
    neighbours = by(near, np.flatnonzero(most))[:5]
    # The neighbours take five places, the nearest to the user vector the others.
    others = [row for row in by(scores).tolist() if row not in neighbours][:25]
    expected = by(scores, np.array([*neighbours, *others]))
    assert retrieved.candidates.rows().tolist() == expected.tolist()
    asked = [[(r.shard.with_shared_sources, r.shard.exhaustive) for r in shard.requests] for shard in shards]
    assert asked == [[(True, False), (False, True)], [(False, False), (False, True)], [(False, False), (False, True)]]


def test_sources_that_all_shards_know_in_full_come_once(generation: Generation) -> None:
    scores = np.zeros(ITEM_COUNT, np.float32)
    with serving(Script(scores, [], popular=range(59, -1, -1))) as (_, targets, _servers):
        retrieved = ask(generation, targets, count=200, trace=True)
    assert retrieved.candidates.rows().tolist() == list(range(59, -1, -1))
    assert retrieved.candidates.source_ranks(4) == {"popular": 5}
    assert retrieved.shortfall == Shortfall(140, ShortfallReason.CATALOGUE_TOO_SMALL)


def test_groups_are_merged_apart_and_ranks_are_those_in_the_whole_list(generation: Generation) -> None:
    scores, first, second = numbers(1), numbers(2), numbers(3)
    searches = [
        Search("NEIGHBOURS", first, wanted_count=4),
        Search("NEIGHBOURS", second, wanted_count=4, group=1),
        Search("USER_VECTOR", scores),
    ]
    with serving(Script(scores, searches)) as (_, targets, _servers):
        candidates = ask(generation, targets, count=20, trace=True).candidates
    # The two lists of one source are dealt round: the best of each, the second of each.
    dealt = np.stack([by(first)[:4], by(second)[:4]], axis=1).ravel().tolist()
    neighbours = list(dict.fromkeys(dealt))[:4]
    found = {
        row: candidates.source_ranks(index)["neighbours"]
        for index, row in enumerate(candidates.rows().tolist())
        if "neighbours" in candidates.sources(index)
    }
    assert found == {row: rank for rank, row in enumerate(neighbours, start=1)}


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 80),
    excluded=st.sets(st.integers(0, ITEM_COUNT - 1), max_size=ITEM_COUNT),
    seen_share=st.sampled_from([0.1, 0.5, 1.0]),
)
# No deadline: every example starts servers.
@settings(max_examples=25, deadline=None)
def test_what_is_found_and_what_is_missing_is_what_was_asked_for(
    generation: Generation, seed: int, count: int, excluded: set[int], seen_share: float
) -> None:
    scores = numbers(seed)
    seen = np.random.default_rng(seed).random(ITEM_COUNT) < seen_share
    allowed = np.setdiff1d(np.arange(ITEM_COUNT), list(excluded))
    with serving(Script(scores, [Search("USER_VECTOR", scores, seen=seen)])) as (_, targets, _servers):
        retrieved = ask(generation, targets, count=count, excluded=tuple(excluded))
    rows = retrieved.candidates.rows()
    missing = retrieved.shortfall.missing_count if retrieved.shortfall is not None else 0
    assert len(rows) + missing == count
    assert len(rows) == min(count, len(allowed))
    first_round = by(scores, np.intersect1d(allowed, np.flatnonzero(seen)))
    expected = first_round[:count] if len(first_round) >= count else by(scores, allowed)[:count]
    assert rows.tolist() == expected.tolist()


def similar(generation: Generation, targets: Any, request: SimilarRequest) -> SimilarRows:
    return ShardedRetrievalAdapter([Calls(target) for target in targets], generation).similar_items(
        request, generation=1, timeout_seconds=5.0
    )


def test_similar_items_are_the_nearest_of_all_shards(generation: Generation) -> None:
    near = numbers(4)
    seen = np.arange(ITEM_COUNT) % 4 == 0
    script = Script(near, [Search("NEIGHBOURS", near, seen=seen)])
    with serving(script) as (shards, targets, _):
        few = similar(generation, targets, SimilarRequest("i1", 15, exclude_item_ids=["i2"]))
        many = similar(generation, targets, SimilarRequest("i1", 16))
        all_of_them = similar(generation, targets, SimilarRequest("i1", 60))
    assert few.rows.tolist() == by(near, np.flatnonzero(seen)).tolist()
    assert len(few.rows) == 15
    assert few.scores.tolist() == near[few.rows].tolist()
    others = by(near, np.setdiff1d(np.arange(ITEM_COUNT), [1]))
    assert many.rows.tolist() == others[:16].tolist()
    assert all_of_them.rows.tolist() == others.tolist()
    assert all_of_them.shortfall == Shortfall(1, ShortfallReason.CATALOGUE_TOO_SMALL)
    first = shards[0].requests[0]
    assert (first.item_id, first.count, list(first.exclude_item_ids)) == ("i1", 15, ["i2"])
    assert few.timings[0].stage == "retrieval"


def test_the_slowest_shard_is_the_calls_time_and_each_has_its_own(generation: Generation) -> None:
    with serving(user_vector(numbers(1))) as (_, targets, _servers):
        call, *steps = ask(generation, targets).timings
    assert (call.stage, call.compute_ms) == ("retrieval", 3.0)
    assert call.transport_ms > 0
    assert [(step.stage, step.compute_ms) for step in steps[:3]] == [
        ("retrieval.shard_0", 1.0),
        ("retrieval.shard_1", 2.0),
        ("retrieval.shard_2", 3.0),
    ]
    assert steps[3].stage == "retrieval.merge"


def test_weights_of_the_history_are_those_of_the_first_shard(generation: Generation) -> None:
    def told(answer: Any) -> Any:
        answer.history_rows.extend([3, 9])
        answer.history_weights.extend([0.25, 0.75])
        return answer

    with serving(user_vector(numbers(1), change={0: told})) as (shards, targets, _):
        retrieved = ShardedRetrievalAdapter([Calls(target) for target in targets], generation).retrieve(
            RecommendRequest(explain=True),
            Person(HistoryColumns([3, 9])),
            generation=1,
            count=5,
            timeout_seconds=5.0,
        )
    assert list(retrieved.history_weights) == [0.25, 0.75]
    assert all(shard.requests[0].return_history_weights for shard in shards)


def test_of_a_shard_with_several_replicas_one_that_holds_the_generation_is_asked(generation: Generation) -> None:
    scores = numbers(1)
    with serving(user_vector(scores)) as (_, _targets, servers), ExitStack() as stack:
        targets = [
            stack.enter_context(Replicas(server.address, retrieval_pb2_grpc.RetrievalServiceStub, connection_count=2))
            for server in servers
        ]
        for replicas in targets:
            lagging, ready = replicas.connections()
            lagging.held, ready.held = frozenset([9]), frozenset([1])
        for _ in range(4):
            assert ask(generation, targets, count=5).candidates.rows().tolist() == by(scores)[:5].tolist()
        # Nobody holds it any more in one shard.
        for replica in targets[1].connections():
            replica.held = frozenset([9])
        with pytest.raises(StageWithoutGeneration, match="shard 1 of 3: no replica holds the generation any more"):
            ask(generation, targets)


class Hedges:
    """Keeps how hedges ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def hedged(self, outcome: str) -> None:
        self.ended.append(outcome)

    def retried(self, outcome: str) -> None:
        raise AssertionError(outcome)


def test_a_shard_s_second_replica_answers_for_one_that_hangs(generation: Generation) -> None:
    scores = numbers(1)
    hanging = user_vector(scores, change={0: late})
    hedges = [Hedges() for _ in range(3)]
    with (
        serving(user_vector(scores)) as (_, _targets, servers),
        serving(hanging) as (_, _others, slow),
        ExitStack() as stack,
    ):
        targets = [
            stack.enter_context(Replicas(f"{a.address},{b.address}", retrieval_pb2_grpc.RetrievalServiceStub))
            for a, b in zip(slow, servers, strict=True)
        ]
        calls = [Calls(target, watcher=told) for target, told in zip(targets, hedges, strict=True)]
        for each in calls:
            for _ in range(40):
                each.latency.record(0.02)
        adapter = ShardedRetrievalAdapter(calls, generation)
        for _ in range(4):
            retrieved = adapter.retrieve(RecommendRequest(), Person(), generation=1, count=5, timeout_seconds=5.0)
            assert retrieved.candidates.rows().tolist() == by(scores)[:5].tolist()
    # Every second question goes to the one that hangs first.
    assert hedges[0].ended.count("won") >= 2
