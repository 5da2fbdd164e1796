from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageLate, StageUnavailable
from gateway.engine.plan import Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from gateway.engine.why import Effect, Outcome
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from tests.unit.gateway.catalogue import publish_items
from tests.unit.gateway.explained_world import (
    IDS,
    ITEM_COUNT,
    SEEN,
    TAGS,
    YEARS,
    BruteForce,
    World,
    passes,
    refused_by_walk,
    requests,
    step,
)
from tests.unit.gateway.small_stages import SmallStages
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.errors import DeadlineSpent, ItemNotFound, NotReady
from twostage.features.diversity import Cap, Diversity


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    popularity = [float(10 * ((7 * row) % ITEM_COUNT)) for row in range(ITEM_COUNT)]
    return publish_items(tmp_path_factory.mktemp("store"), popularity=popularity, tags=TAGS, years=YEARS)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteUserStore]:
    store = SqliteUserStore(tmp_path_factory.mktemp("users") / "users.sqlite")
    store.record([NewEvent(f"e-{i}", "known", i, "rated", None, 1_000, "") for i in SEEN])
    yield store
    store.close()


@settings(max_examples=100, deadline=None)
@given(request=requests, candidate_count=st.integers(1, ITEM_COUNT), seed=st.integers(0, 50))
def test_what_is_told_of_every_item_agrees_with_the_answer_and_with_brute_force(
    generation: Generation, users: SqliteUserStore, request: RecommendRequest, candidate_count: int, seed: int
) -> None:
    world = World(generation, users, Plan(candidate_count=candidate_count), seed)
    truth = BruteForce(world, request, candidate_count)
    for row, item_id in enumerate(IDS):
        truth.check(row, world.why(item_id, request))


def test_an_item_that_nobody_has_is_not_found(generation: Generation, users: SqliteUserStore) -> None:
    with pytest.raises(ItemNotFound, match="nix"):
        World(generation, users, Plan()).why("nix", RecommendRequest())


def test_the_steps_of_a_recommended_item_go_from_the_catalogue_to_its_place_with_reasons(
    generation: Generation, users: SqliteUserStore
) -> None:
    world = World(generation, users, Plan())
    request = RecommendRequest(user_id="known", count=3, filter=Filter((Condition("year", minimum=2000.0),)))
    item_id = world.pipeline.recommend(request, Budget(5.0)).recommendations[1].item_id
    why = world.why(item_id, request)
    assert [each.stage for each in why.steps] == [
        "catalogue",
        "user",
        "filter",
        "retrieval",
        "ranking",
        "selection",
        "answer",
    ]
    assert step(why, "filter").numbers["value"] == YEARS[int(item_id[1:])]
    assert step(why, "ranking").numbers["action.rated"] == why.recommendation.action_scores["rated"]
    assert (why.recommendation.reasons, why.recommendation.explanations[0].item_id) == (("because of Title 0",), "i0")
    assert why.recommendation.trace is not None
    assert why.recommendation.trace.final_rank == 2


def test_a_pinned_item_is_told_to_be_pinned(generation: Generation, users: SqliteUserStore) -> None:
    world = World(generation, users, Plan())
    worst = IDS[int(np.argmin(world.stages.probabilities))]
    request = RecommendRequest(count=2, pinned_item_ids=[worst])
    told = step(world.why(worst, request), "selection")
    assert (told.rule, told.effect, told.numbers["to"]) == ("pinned_item_ids", Effect.MOVED, 1)


def test_a_second_look_is_taken_only_where_the_answer_does_not_tell(
    generation: Generation, users: SqliteUserStore
) -> None:
    world = World(generation, users, Plan())
    request = RecommendRequest(count=2, exclude_item_ids=["i3"])
    world.why("i3", request)
    assert world.stages.calls == ["retrieve", "rank"]
    world.stages.calls.clear()
    worst = IDS[int(np.argmin(world.stages.probabilities))]
    world.why(worst, request)
    assert world.stages.calls == ["retrieve", "rank"]


def test_200_pins_leave_room_for_the_item_that_is_asked_about(generation: Generation, users: SqliteUserStore) -> None:
    world = World(generation, users, Plan(candidate_count=2))
    pins = [*[f"nix{n}" for n in range(199)], "i0"]
    lost = [i for i in IDS if world.why(i, RecommendRequest(count=1, pinned_item_ids=pins)).position == 0]
    assert len(lost) == ITEM_COUNT - 1


class TestWithoutRanking:
    REQUEST = RecommendRequest(count=4, diversity=Diversity(caps=(Cap("tags", 2),)), pinned_item_ids=("i9",))

    def test_what_retrieval_ordered_agrees_with_the_answer_and_ranking_is_not_looked_at(
        self, generation: Generation, users: SqliteUserStore
    ) -> None:
        world = World(generation, users, Plan(candidate_count=12))
        world.stages.ranking_failure = StageUnavailable("ranking", "down")
        answer = [each.item_id for each in world.pipeline.recommend(self.REQUEST, Budget(5.0)).recommendations]
        scores = world.stages.scores
        rows = sorted(range(ITEM_COUNT), key=lambda row: (row != 9, -scores[row], row))[:12]
        order = sorted(rows, key=lambda row: (-scores[row], row))
        refused = refused_by_walk(order, [9], 4, self.REQUEST.diversity.caps)
        for row, item_id in enumerate(IDS):
            why = world.why(item_id, self.REQUEST)
            assert why.rung is Rung.RETRIEVAL_ORDER
            assert why.position == (answer.index(item_id) + 1 if item_id in answer else 0)
            if row not in rows:
                assert why.outcome is Outcome.NOT_RETRIEVED
                assert "was not looked at" in why.steps[-1].words
                continue
            assert step(why, "ranking").rule == "not looked at"
            assert why.rung_reason in step(why, "ranking").words
            if item_id not in answer:
                assert (why.outcome is Outcome.PASSED_OVER) == (row in refused)
                assert why.recommendation.score == pytest.approx(float(scores[row]))

    def test_popular_answers_are_told_by_popularity(self, generation: Generation, users: SqliteUserStore) -> None:
        world = World(generation, users, Plan())
        world.stages.retrieval_failure = StageUnavailable("retrieval", "down")
        request = replace(self.REQUEST, exclude_item_ids=["i3"], filter=Filter((Condition("year", minimum=2001.0),)))
        answer = [each.item_id for each in world.pipeline.recommend(request, Budget(5.0)).recommendations]
        allowed = [int(row) for row in generation.popular_rows if all(passes(request, int(row))) and row != 3]
        refused = refused_by_walk(allowed, [9], 4, request.diversity.caps)
        for row, item_id in enumerate(IDS):
            why = world.why(item_id, request)
            assert (why.rung, why.position) == (Rung.POPULAR, answer.index(item_id) + 1 if item_id in answer else 0)
            if row == 3:
                assert why.outcome is Outcome.EXCLUDED
            elif row not in allowed:
                assert why.outcome is Outcome.FILTERED
            elif item_id not in answer:
                assert (why.outcome is Outcome.PASSED_OVER) == (row in refused)
                assert why.steps[-1].numbers["rank"] == allowed.index(row) + 1
                assert why.recommendation.score == generation.popularity[row]
                assert [each.rule for each in why.steps if "not looked at" in each.words] == ["not looked at"] * 2

    def test_an_earlier_answer_is_told_to_be_one(self, generation: Generation, users: SqliteUserStore) -> None:
        world = World(generation, users, Plan())
        request = RecommendRequest(user_id="known", count=3)
        answer = [each.item_id for each in world.pipeline.recommend(request, Budget(5.0)).recommendations]
        world.stages.retrieval_failure = StageUnavailable("retrieval", "down")
        outcomes = {item_id: world.why(item_id, request) for item_id in IDS}
        assert {why.rung for why in outcomes.values()} == {Rung.CACHED}
        assert {i for i, why in outcomes.items() if why.outcome is Outcome.RECOMMENDED} == set(answer)
        assert {i for i, why in outcomes.items() if why.outcome is Outcome.EXCLUDED} == set(SEEN)
        assert {why.lost_by for why in outcomes.values()} == {"", "user: seen", "answer: earlier answer"}


def test_a_stage_that_fails_at_the_second_look_is_an_error_and_no_guess(
    generation: Generation, users: SqliteUserStore
) -> None:
    world = World(generation, users, Plan(candidate_count=3))
    request = RecommendRequest(count=3)
    lost = next(i for i in IDS if world.why(i, request).outcome is Outcome.NOT_RETRIEVED)
    for failure, expected in (
        (StageUnavailable("retrieval", "down"), NotReady),
        (StageLate("retrieval", "late"), DeadlineSpent),
    ):
        with failing_at_second(world.stages, failure), pytest.raises(expected, match="retrieval"):
            world.why(lost, request)


@contextmanager
def failing_at_second(stages: SmallStages, failure: StageUnavailable | StageLate) -> Iterator[None]:
    whole, calls = stages.retrieve, 0

    def retrieve(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise failure
        return whole(*arguments, **named)

    stages.retrieve = retrieve  # type: ignore[method-assign]
    try:
        yield
    finally:
        stages.retrieve = whole  # type: ignore[method-assign]


def test_what_exploration_took_and_gave_is_told(generation: Generation, users: SqliteUserStore) -> None:
    plan = Plan(exploration=Exploration(epsilon=0.7, share=1.0, pool_count=5))
    world = World(generation, users, plan)
    request = RecommendRequest(count=4)
    outcomes = [world.why(item_id, request) for _ in range(6) for item_id in IDS]
    order = np.argsort(-world.stages.probabilities[_candidates(world)], kind="stable")
    best = {IDS[_candidates(world)[place]] for place in order[:4]}
    taken = [why for why in outcomes if why.lost_by == "exploration: exploration"]
    given = [why for why in outcomes if why.position and why.recommendation.item_id not in best]
    assert taken
    assert given
    assert {why.recommendation.item_id for why in taken} <= best
    assert {why.outcome for why in taken} == {Outcome.PASSED_OVER}
    for why in given:
        told = step(why, "exploration")
        assert (told.effect, told.numbers["to"]) == (Effect.MOVED, why.position)
        assert 0 < step(why, "answer").numbers["propensity"] < 1


def _candidates(world: World) -> list[int]:
    scores = world.stages.scores
    return sorted(range(ITEM_COUNT), key=lambda row: (-scores[row], row))


def test_interleaved_rankings_are_told_by_the_first_ones_scores(generation: Generation, users: SqliteUserStore) -> None:
    plan = Plan(rivals=(Rival("old", Overrides()), Rival("new", Overrides(diversity_strength=0.9))))
    world = World(generation, users, plan)
    request = RecommendRequest(count=4)
    outcomes = [world.why(item_id, request) for item_id in IDS]
    assert sorted(why.position for why in outcomes if why.position) != []
    for why in outcomes:
        assert step(why, "ranking").rule == "score of old"
        if not why.position:
            assert why.lost_by == "selection: interleaving"
            assert (why.outcome is Outcome.PASSED_OVER) == (step(why, "ranking").numbers["rank"] <= 4)


def test_interleaved_rankings_are_told_as_the_first_was_asked_with_what_it_refused(
    generation: Generation, users: SqliteUserStore
) -> None:
    turned = Overrides(blend={"rated": 2.0})
    plan = Plan(rivals=(Rival("old", turned), Rival("new", Overrides(diversity_strength=0.9))))
    world = World(generation, users, plan)
    probabilities, rank = world.stages.probabilities, world.stages.rank

    def rank_by_blend(request: RecommendRequest, *arguments: Any, **named: Any) -> Any:
        world.stages.probabilities = 1 - probabilities if request.blend else probabilities
        return rank(request, *arguments, **named)

    world.stages.rank = rank_by_blend  # type: ignore[method-assign]
    request = RecommendRequest(count=4, diversity=Diversity(caps=(Cap("tags", 2),)))
    order = sorted(range(ITEM_COUNT), key=lambda row: (probabilities[row], -world.stages.scores[row], row))
    refused = refused_by_walk(order, [], request.count, request.diversity.caps)
    rules = set()
    for row, item_id in enumerate(IDS):
        why = world.why(item_id, request)
        told = step(why, "ranking")
        assert (told.rule, told.numbers["score"]) == ("score of old", 1 - probabilities[row])
        assert told.numbers["rank"] == order.index(row) + 1
        if not why.position:
            rules.add(why.steps[-1].rule)
            assert why.steps[-1].rule == ("cap tags" if row in refused else "interleaving")
    assert rules == {"cap tags", "interleaving"}
