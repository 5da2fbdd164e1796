from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageLate, StageUnavailable, StageWithoutGeneration
from gateway.engine.plan import Arm, Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse
from gateway.users.sqlite_store import SqliteUserStore
from tests.unit.gateway.stages import Kept, OneWay, Stages, Ways, ids, make_pipeline
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField
from twostage.features.diversity import Diversity

ROWS = list(range(20))
RIVALS = (Rival("A", Overrides()), Rival("B", Overrides(ranker="deepfm")))


def ask(
    generation: Generation, users: SqliteUserStore, stages: Stages, plan: Plan, request: RecommendRequest
) -> RecommendResponse:
    pipeline = make_pipeline(OneWay(generation, stages), users, plan=plan)
    return pipeline.recommend(request, Budget(1.0))


def test_quotas_and_counts_reach_retrieval_and_the_record(generation: Generation, users: SqliteUserStore) -> None:
    stages, kept = Stages(ROWS), Kept()
    plan = Plan(source_quotas={"popular": 7}, arms=(Arm("sources", "few popular"),))
    pipeline = make_pipeline(OneWay(generation, stages), users, candidate_count=25, plan=plan, recorder=kept)
    response = pipeline.recommend(RecommendRequest("ann", count=3), Budget(1.0))
    assert (stages.quotas, stages.asked_count) == ({"popular": 7}, 25)
    assert response.arms == (Arm("sources", "few popular"),)
    served = kept.served[0]
    assert served.plan.candidate_count == 25
    assert (served.response, served.candidates) == (response, stages.candidates)
    assert (served.person, served.request) == (stages.person, RecommendRequest("ann", count=3))
    assert served.ranked is not None


def test_arms_are_told_on_every_rung_and_every_answer_is_recorded_once(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages, kept = Stages(ROWS), Kept()
    plan = Plan(arms=(Arm("e", "a"),))
    pipeline = make_pipeline(OneWay(generation, stages), users, plan=plan, recorder=kept)
    responses = []
    for failing in ("", "ranking", "retrieval"):
        stages.ranking_failure = StageLate("ranking", "slow") if failing else None
        stages.retrieval_failure = StageLate("retrieval", "slow") if failing == "retrieval" else None
        responses.append(pipeline.recommend(RecommendRequest("ann", count=2), Budget(1.0)))
    responses.append(pipeline.recommend(RecommendRequest("bob", count=2), Budget(1.0)))
    assert [response.rung for response in responses] == [Rung.FULL, Rung.RETRIEVAL_ORDER, Rung.CACHED, Rung.POPULAR]
    assert all(response.arms == (Arm("e", "a"),) for response in responses)
    assert [served.response for served in kept.served] == responses
    assert [served.candidates is None for served in kept.served] == [False, False, True, True]
    assert [served.ranked is None for served in kept.served] == [False, True, True, True]


def test_overrides_reach_the_stages_where_the_request_says_nothing(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages(ROWS)
    plan = Plan(overrides=Overrides("deepfm", {"liked": 2.0}, 0.5))
    response = ask(generation, users, stages, plan, RecommendRequest(count=2))
    asked = stages.rank_requests[-1]
    assert (asked.ranker, asked.blend, asked.diversity.strength) == ("deepfm", {"liked": 2.0}, 0.5)
    assert (response.ranker, response.rung, response.rung_reason) == ("deepfm", Rung.FULL, "")

    own = RecommendRequest(count=2, ranker="content", blend={"rated": 1.0}, diversity=Diversity(0.25))
    assert ask(generation, users, stages, plan, own).ranker == "content"
    assert stages.rank_requests[-1] is own


@pytest.mark.parametrize(
    ("overrides", "request_", "words", "blend"),
    [
        (Overrides(ranker="din"), RecommendRequest(), "ranker", {}),
        (Overrides(blend={"sold": 1.0}), RecommendRequest(), "blend", {}),
        (Overrides(blend={"rated": 1.0}), RecommendRequest(ranker="deepfm"), "blend", {}),
        (Overrides(ranker="deepfm"), RecommendRequest(blend={"rated": 1.0}), "ranker", {"rated": 1.0}),
    ],
)
def test_an_override_that_does_not_fit_is_left_out_and_the_caller_is_not_refused(
    generation: Generation,
    users: SqliteUserStore,
    overrides: Overrides,
    request_: RecommendRequest,
    words: str,
    blend: dict[str, float],
) -> None:
    stages = Stages(ROWS)
    response = ask(generation, users, stages, Plan(overrides=overrides), request_)
    assert (response.rung, response.rung_reason) == (Rung.FULL, f"the experiment's {words} was not applied")
    assert stages.rank_requests[-1].blend == blend


def test_overrides_that_only_ranking_refuses_are_left_out_too(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages(ROWS)
    stages.ranker_failures["deepfm"] = InvalidField("ranker", "one that is loaded", "deepfm")
    plan = Plan(overrides=Overrides(ranker="deepfm"))
    response = ask(generation, users, stages, plan, RecommendRequest(count=2))
    assert (response.rung, response.ranker) == (Rung.FULL, "content")
    assert response.rung_reason == "the experiment's overrides were not applied, ranking refuses them"
    with pytest.raises(InvalidField):
        ask(generation, users, stages, plan, RecommendRequest(count=2, ranker="deepfm"))


def test_what_the_plan_adds_is_not_said_to_be_left_out_of_the_request(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages(ROWS)
    stages.ranking_failure = StageLate("ranking", "slow")
    response = ask(generation, users, stages, Plan(overrides=Overrides("deepfm", {}, 0.5)), RecommendRequest(count=2))
    assert response.rung_reason == "ranking late: slow"


def test_the_preferred_generation_is_asked_for_both_times(
    generation: Generation, newer: Generation, users: SqliteUserStore
) -> None:
    first, second = Stages([5, 6]), Stages([35, 36])
    first.generation = 2
    first.ranking_failure = StageWithoutGeneration("ranking", "generation 2 is not loaded there")
    ways = Ways((newer, first), (generation, second))
    response = make_pipeline(ways, users, plan=Plan(generation=2)).recommend(RecommendRequest(count=2), Budget(1.0))
    assert (response.generation, ways.preferred) == (1, [2, 2])


def test_exploration_shows_items_of_the_pool_with_their_propensities(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages, kept = Stages(ROWS), Kept()
    plan = Plan(exploration=Exploration(epsilon=0.5, share=0.5, pool_count=6))
    pipeline = make_pipeline(OneWay(generation, stages), users, plan=plan, recorder=kept)
    best = [f"i{row}" for row in range(19, -1, -1)]
    explored = 0
    for _ in range(60):
        response = pipeline.recommend(RecommendRequest(count=4, trace=True), Budget(1.0))
        assert stages.rank_requests[-1].count == 10
        shown = ids(response)
        assert shown[:2] == best[:2]
        assert len(set(shown)) == 4
        assert set(shown) <= set(best[:10])
        assert [each.propensity for each in response.recommendations[:2]] == [1.0, 1.0]
        for each in response.recommendations[2:]:
            from_pool = each.item_id in best[4:10]
            explored += from_pool
            assert each.propensity == pytest.approx(0.5) if not from_pool else each.propensity in (0.5 / 6, 0.5 / 5)
        assert response.shortfall is None
    # 120 coins.
    assert 30 < explored < 90
    assert kept.served[0].ranked is not None
    assert len(kept.served[0].ranked.items) == 10
    moved = [
        each.trace.steps[-1]
        for served in kept.served
        for each in served.response.recommendations
        if each.trace is not None and each.item_id in best[4:10]
    ]
    assert moved
    assert all(step.endswith("by exploration") for step in moved)


def test_pins_are_not_explored_away(generation: Generation, users: SqliteUserStore) -> None:
    plan = Plan(exploration=Exploration(epsilon=1.0, share=1.0, pool_count=6))
    request = RecommendRequest(count=3, pinned_item_ids=["i4", "i7"])
    response = ask(generation, users, Stages(ROWS), plan, request)
    assert ids(response)[:2] == ["i4", "i7"]
    assert [each.propensity for each in response.recommendations[:2]] == [1.0, 1.0]
    assert response.recommendations[2].propensity == pytest.approx(1 / 6)


def test_rivals_are_drafted_into_one_answer(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages(ROWS)
    plan = Plan(rivals=RIVALS, arms=(Arm("duel", "interleaved"),))
    teams: Counter[str] = Counter()
    for _ in range(30):
        response = ask(generation, users, stages, plan, RecommendRequest(count=5, pinned_item_ids=["i9"]))
        first, *rest = response.recommendations
        assert (first.item_id, first.team, first.propensity) == ("i9", "", 1.0)
        # A has the list turned around, B has it as it is.
        assert [each.item_id for each in rest if each.team == "A"] == ["i19", "i18"]
        assert [each.item_id for each in rest if each.team == "B"] == ["i0", "i1"]
        teams[rest[0].team] += 1
        assert [timing.stage for timing in response.timings] == ["user", "retrieval", "ranking", "ranking"]
    assert min(teams["A"], teams["B"]) > 3
    assert [request.ranker for request in stages.rank_requests[-2:]] == ["", "deepfm"]


def test_a_rival_that_fails_leaves_the_other_one_alone(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages(ROWS)
    stages.ranker_failures["deepfm"] = StageUnavailable("ranking", "gone")
    response = ask(generation, users, stages, Plan(rivals=RIVALS), RecommendRequest(count=3))
    assert (response.rung, ids(response)) == (Rung.FULL, ["i19", "i18", "i17"])
    assert {each.team for each in response.recommendations} == {""}
    assert response.rung_reason == "not interleaved, ranking unavailable: gone"

    turned = replace(Plan(), rivals=tuple(reversed(RIVALS)))
    response = ask(generation, users, stages, turned, RecommendRequest(count=3))
    assert response.rung is Rung.RETRIEVAL_ORDER


def test_a_rivals_override_that_does_not_fit_is_left_out(generation: Generation, users: SqliteUserStore) -> None:
    rivals = (RIVALS[0], Rival("B", Overrides(ranker="din")))
    response = ask(generation, users, Stages(ROWS), Plan(rivals=rivals), RecommendRequest(count=3))
    assert response.rung_reason == "the experiment's ranker was not applied"
    assert ids(response) == ["i19", "i18", "i17"]


def test_examining_answers_the_same_and_leaves_no_trace_of_itself(
    generation: Generation, users: SqliteUserStore
) -> None:
    registry, kept, stages = CollectorRegistry(), Kept(), Stages(ROWS)
    pipeline = make_pipeline(OneWay(generation, stages), users, registry=registry, recorder=kept)
    request = RecommendRequest("ann", count=3)
    served, route = pipeline.examine(request, Budget(1.0), include_item_ids=["i30"])
    assert stages.included == ["i30"]
    assert ids(served.response) == ["i19", "i18", "i17"]
    assert all(each.trace is not None for each in served.response.recommendations)
    assert served.ranked is not None
    assert len(served.ranked.items) == len(ROWS)
    assert route.retrieval is stages
    assert not kept.served
    assert registry.get_sample_value("twostage_gateway_recommendations_total", {"rung": "FULL"}) == 0
    stages.retrieval_failure = StageLate("retrieval", "slow")
    assert pipeline.recommend(request, Budget(1.0)).rung is Rung.POPULAR
    assert pipeline.examine(request, Budget(1.0)).served.response.rung is Rung.POPULAR


def test_rung_changes_are_counted(generation: Generation, users: SqliteUserStore) -> None:
    registry, stages = CollectorRegistry(), Stages(ROWS)
    pipeline = make_pipeline(OneWay(generation, stages), users, registry=registry)
    for failing in (False, False, True, True, False):
        stages.ranking_failure = StageLate("ranking", "slow") if failing else None
        pipeline.recommend(RecommendRequest(count=2), Budget(1.0))

    def changes(rung: str) -> float | None:
        return registry.get_sample_value("twostage_gateway_rung_changes_total", {"rung": rung})

    assert (changes("RETRIEVAL_ORDER"), changes("FULL"), changes("POPULAR")) == (1, 1, 0)


def test_a_stage_that_fails_again_and_again_is_not_asked_and_the_rung_stays(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages(ROWS)
    stages.retrieval_failure = StageUnavailable("retrieval", "cannot be reached")
    pipeline = make_pipeline(OneWay(generation, stages), users)
    responses = [pipeline.recommend(RecommendRequest(count=2), Budget(1.0)) for _ in range(60)]
    assert {response.rung for response in responses} == {Rung.POPULAR}
    assert responses[-1].rung_reason == (
        "retrieval resting: not asked after failures, the last one: unavailable, cannot be reached"
    )
    # Five requests, and a few trials beside them.
    assert stages.retrieval_calls < 15
