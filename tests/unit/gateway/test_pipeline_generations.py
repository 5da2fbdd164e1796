from __future__ import annotations

from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.ladder import NoCommonGeneration, Rung, StageWithoutGeneration
from gateway.engine.request import RecommendRequest
from gateway.users.sqlite_store import SqliteUserStore
from tests.unit.gateway.stages import Stages, Ways, answer_by, ids, make_pipeline
from twostage.bundle.generation import Generation


def test_a_stage_that_does_not_hold_the_generation_after_all_is_asked_once_more_for_another(
    generation: Generation, newer: Generation, users: SqliteUserStore
) -> None:
    registry = CollectorRegistry()
    lagging, older = Stages([5, 6, 7]), Stages([35, 36])
    lagging.generation = 2
    for failing in ("retrieval_failure", "ranking_failure"):
        setattr(lagging, failing, StageWithoutGeneration(failing.partition("_")[0], "generation 2 is not loaded there"))
        ways = Ways((newer, lagging), (generation, older))
        registry = CollectorRegistry()
        pipeline = make_pipeline(ways, users, candidate_count=5, registry=registry)
        response = pipeline.recommend(RecommendRequest("ann", count=2), Budget(1.0))
        assert (response.rung, response.generation, response.rung_reason) == (Rung.FULL, 1, "")
        # Every item is of the older generation, in which the newer one's rows would be others.
        assert ids(response) == ["i36", "i35"]
        assert ways.choice_count == 2
        sample = registry.get_sample_value
        assert sample("twostage_gateway_recommendations_total", {"rung": "FULL"}) == 1
        stage = failing.partition("_")[0]
        assert sample("twostage_gateway_asked_again_total", {"stage": stage}) == 1
        assert sample("twostage_gateway_stage_failures_total", {"stage": stage, "kind": "unavailable"}) is None
        setattr(lagging, failing, None)


def test_the_second_way_is_the_last_and_the_better_answer_counts(
    generation: Generation, newer: Generation, users: SqliteUserStore
) -> None:
    first, second = Stages([5, 6]), Stages([35, 36])
    first.generation = 2
    first.ranking_failure = StageWithoutGeneration("ranking", "generation 2 is not loaded there, held: 1")
    second.retrieval_failure = StageWithoutGeneration("retrieval", "generation 1 is not loaded there, held: 2")
    ways = Ways((newer, first), (generation, second))
    response = answer_by(ways, users, RecommendRequest(count=2))
    assert (response.rung, response.generation) == (Rung.RETRIEVAL_ORDER, 2)
    assert response.rung_reason == "ranking unavailable: generation 2 is not loaded there, held: 1"
    assert ids(response) == ["i5", "i6"]
    assert ways.choice_count == 2


def test_what_the_other_generation_cannot_answer_does_not_refuse_the_request(
    generation: Generation, newer: Generation, users: SqliteUserStore
) -> None:
    first, second = Stages([35, 36]), Stages([5])
    second.generation = 2
    first.ranking_failure = StageWithoutGeneration("ranking", "generation 1 is not loaded there, held: 2")
    ways = Ways((generation, first), (newer, second))
    response = answer_by(ways, users, RecommendRequest(count=2, ranker="deepfm"))
    assert (response.rung, response.generation) == (Rung.RETRIEVAL_ORDER, 1)
    assert response.rung_reason.endswith("held: 2; ranker was not applied")


def test_a_generation_that_nobody_has_in_common_is_not_asked_for_twice(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([5, 6])
    stages.ranking_failure = NoCommonGeneration("ranking", "no generation in common")
    ways = Ways((generation, stages))
    response = answer_by(ways, users, RecommendRequest(count=2))
    assert (response.rung, ways.choice_count) == (Rung.RETRIEVAL_ORDER, 1)
