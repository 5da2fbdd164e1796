from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageLate, StageUnavailable
from gateway.engine.plan import Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from gateway.engine.why import Effect, ItemQuestion, Outcome, Step, Why
from gateway.explain import Explainer
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from tests.unit.gateway.catalogue import publish_items
from tests.unit.gateway.small_stages import Columns, OneGeneration, SmallStages
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.errors import DeadlineSpent, ItemNotFound, NotReady
from twostage.features.diversity import Cap, Diversity

ITEM_COUNT = 16
TAGS = [["even" if row % 2 == 0 else "odd", f"t{row % 3}"] for row in range(ITEM_COUNT)]
YEARS = [float("nan") if row == 5 else 2000.0 + row for row in range(ITEM_COUNT)]
IDS = [f"i{row}" for row in range(ITEM_COUNT)]
SEEN = ("i1", "i2")


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


class Fixed:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        assert request_id
        assert request.count >= 1
        return self._plan


class World:
    """A gateway over small stages."""

    def __init__(self, generation: Generation, users: SqliteUserStore, plan: Plan, seed: int = 0) -> None:
        self.stages = SmallStages.random(generation, seed)
        routes = OneGeneration(self.stages)
        observer = Observer(CollectorRegistry())
        self.pipeline: Pipeline[Columns] = Pipeline(routes, users, plans=Fixed(plan), observer=observer)
        self.explainer = Explainer(self.pipeline, routes)

    def why(self, item_id: str, request: RecommendRequest) -> Why:
        why = self.explainer.explain(ItemQuestion(request, item_id), Budget(5.0))
        lost = [step for step in why.steps if step.effect is Effect.LOST]
        if why.outcome is Outcome.RECOMMENDED:
            assert (lost, why.lost_by) == ([], "")
            assert why.position > 0
        else:
            assert lost == [why.steps[-1]], "one step lost it, the last"
            assert why.lost_by == f"{lost[0].stage}: {lost[0].rule}"
            assert (why.position, why.recommendation.propensity) == (0, 0.0)
            assert why.recommendation.title == f"Title {item_id[1:]}"
        assert why.recommendation.item_id == item_id
        return why


def step(why: Why, stage: str) -> Step:
    return next(each for each in why.steps if each.stage == stage)


def passes(request: RecommendRequest, row: int) -> list[bool]:
    """By hand: what each condition says of a row."""
    verdicts = []
    for condition in request.filter.conditions:
        if condition.has_range:
            low = -np.inf if condition.minimum is None else condition.minimum
            high = np.inf if condition.maximum is None else condition.maximum
            verdicts.append(bool(low <= YEARS[row] <= high))
        else:
            has = set(TAGS[row])
            verdicts.append(
                (not condition.any_of or bool(has & set(condition.any_of))) and not has & set(condition.none_of)
            )
    return verdicts


def refused_by_walk(order: list[int], pins: list[int], count: int, caps: tuple[Cap, ...]) -> dict[int, str]:
    """By hand: the rows that a walk down an order refuses, and the first cap that was full."""

    def values(row: int) -> list[str]:
        return TAGS[row]

    taken = [row for row in pins if row in order][:count]
    refused: dict[int, str] = {}
    for row in order:
        if row in taken:
            continue
        if len(taken) == count:
            break
        full = [
            cap.attribute
            for cap in caps
            if any(sum(value in values(other) for other in taken) >= cap.max_count for value in values(row))
        ]
        if full:
            refused[row] = full[0]
        else:
            taken.append(row)
    return refused


conditions = st.one_of(
    st.builds(
        lambda any_of, none_of: Condition("tags", any_of=tuple(any_of), none_of=tuple(none_of)),
        st.lists(st.sampled_from(["even", "t0", "t1", "nix"]), max_size=2, unique=True),
        st.lists(st.sampled_from(["t2", "nix"]), max_size=1),
    ),
    st.builds(lambda low: Condition("year", minimum=low), st.sampled_from([2001.0, 2004.0, 2012.0])),
)
requests = st.builds(
    RecommendRequest,
    user_id=st.sampled_from(["", "known", "nobody"]),
    recent_item_ids=st.lists(st.sampled_from([*IDS, "nix"]), max_size=2),
    count=st.integers(1, 10),
    filter=st.builds(lambda some: Filter(tuple(some)), st.lists(conditions, max_size=2)),
    exclude_item_ids=st.lists(st.sampled_from([*IDS, "nix"]), max_size=3),
    include_seen=st.booleans(),
    diversity=st.builds(
        Diversity,
        strength=st.sampled_from([0.0, 0.0, 0.3, 0.8, 1.0]),
        caps=st.one_of(st.just(()), st.builds(lambda n: (Cap("tags", n),), st.integers(1, 4))),
    ),
    pinned_item_ids=st.lists(st.sampled_from(IDS), max_size=3, unique=True),
)


class BruteForce:
    """What becomes of each item, by hand."""

    def __init__(self, world: World, request: RecommendRequest, candidate_count: int) -> None:
        self.request, self.stages = request, world.stages
        self.answer = [each.item_id for each in world.pipeline.recommend(request, Budget(5.0)).recommendations]
        seen = {*request.recent_item_ids, *(SEEN if request.user_id == "known" else ())}
        self.excluded = {*request.exclude_item_ids, *(() if request.include_seen else seen)}
        self.allowed = [row for row in range(ITEM_COUNT) if IDS[row] not in self.excluded and all(passes(request, row))]
        self.pins = [IDS.index(each) for each in request.pinned_item_ids]
        scores = self.stages.scores
        included = [row for row in self.pins if row in self.allowed]
        by_score = sorted(self.allowed, key=lambda row: (-scores[row], row))
        first = list(dict.fromkeys([*included, *by_score]))
        self.candidates = sorted(first[: max(candidate_count, request.count)], key=lambda row: (-scores[row], row))
        self.order = sorted(self.candidates, key=self._worst_last)
        self.refused = refused_by_walk(self.order, self.pins, request.count, request.diversity.caps)
        self.chosen = [row for row in map(IDS.index, self.answer) if row not in self.pins]

    def _worst_last(self, row: int) -> tuple[float, float, int]:
        return -self.stages.probabilities[row], -self.stages.scores[row], row

    def check(self, row: int, why: Why) -> None:
        last, request = why.steps[-1], self.request
        if IDS[row] in self.answer:
            assert (why.outcome, why.position) == (Outcome.RECOMMENDED, self.answer.index(IDS[row]) + 1)
            assert step(why, "ranking").numbers["rank"] == self.order.index(row) + 1
        elif IDS[row] in self.excluded:
            assert why.outcome is Outcome.EXCLUDED
            assert last.rule == ("exclude_item_ids" if IDS[row] in request.exclude_item_ids else "seen")
        elif row not in self.allowed:
            assert why.outcome is Outcome.FILTERED
            assert last.rule == f"conditions[{passes(request, row).index(False)}]"
        elif row not in self.candidates:
            assert why.outcome is Outcome.NOT_RETRIEVED
            self._check_not_retrieved(row, last)
        else:
            told = step(why, "ranking").numbers
            assert (told["score"], told["rank"]) == (self.stages.probabilities[row], self.order.index(row) + 1)
            assert why.recommendation.score == told["score"]
            self._check_not_selected(row, why)

    def _check_not_retrieved(self, row: int, last: Step) -> None:
        assert last.numbers["if_retrieved.score"] == self.stages.probabilities[row]
        unpinned = [float(self.stages.scores[other]) for other in self.candidates if other not in self.pins]
        assert last.rule == ("user_vector" if unpinned else "pinned_item_ids")
        if unpinned:
            assert last.numbers["score"] == pytest.approx(float(self.stages.scores[row]))
            assert last.numbers["least_user_vector_score"] == pytest.approx(min(unpinned))
        if not self.pins:
            had_it_been = sorted([*self.candidates[:-1], row], key=self._worst_last)
            assert last.numbers["if_retrieved.rank"] == had_it_been.index(row) + 1

    def _check_not_selected(self, row: int, why: Why) -> None:
        last, request, place = why.steps[-1], self.request, self.order.index(row)
        if why.outcome is Outcome.OUTRANKED:
            assert all(self.order.index(other) < place for other in self.chosen)
            assert place >= request.count
        elif last.rule == "cap tags":
            held = [sum(value in TAGS[IDS.index(each)] for each in self.answer) for value in TAGS[row]]
            assert max(held) >= request.diversity.caps[0].max_count
        elif last.rule == "diversity":
            assert request.diversity.strength > 0
            assert any(self.order.index(other) > place for other in self.chosen)
            vectors = self.stages.vectors
            likeness = max(float(vectors[IDS.index(each)] @ vectors[row]) for each in self.answer)
            assert last.numbers["greatest_similarity"] == pytest.approx(likeness, abs=1e-6)
        else:
            assert last.rule == "pinned_item_ids"
            assert place < request.count
        if request.diversity.strength == 0:
            assert (last.rule == "cap tags") == (row in self.refused)


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
