from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageLate
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from tests.unit.gateway.stages import OneWay, Stages, answer, ids, make_pipeline
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField
from twostage.features.diversity import Cap, Diversity


def test_both_stages_answering_is_full(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5, 6, 7])
    response = answer(generation, users, stages, RecommendRequest("ann", count=2, trace=True))
    assert (response.rung, response.rung_reason) == (Rung.FULL, "")
    assert ids(response) == ["i7", "i6"]
    first = response.recommendations[0]
    assert (first.candidate_rank, first.sources, first.action_scores) == (3, ("user_vector",), {"liked": 0.5})
    assert first.trace is not None
    assert (first.trace.retrieval_rank, first.trace.ranking_rank, first.trace.final_rank) == (3, 1, 1)
    assert first.trace.source_ranks == {"user_vector": 2}
    assert [timing.stage for timing in response.timings] == ["user", "retrieval", "ranking"]
    assert response.generation == 1
    assert len(response.request_id) == 32


def test_stages_are_told_taste_and_what_was_seen(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5])
    response = answer(generation, users, stages, RecommendRequest("ann", exclude_item_ids=["i1"]))
    assert stages.person is not None
    assert list(stages.person.history.rows) == [39]
    assert set(stages.person.excluded_rows) == {39, 38, 1}
    assert response.unknown_item_count == 1
    assert stages.asked_count == 40


def test_candidates_are_never_fewer_than_what_is_asked_for(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5])
    answer(generation, users, stages, RecommendRequest(count=30), candidate_count=10)
    assert stages.asked_count == 30


def test_a_failing_user_store_is_answered_as_for_an_unknown_person(
    generation: Generation, broken_users: SqliteUserStore
) -> None:
    registry = CollectorRegistry()
    pipeline = make_pipeline(OneWay(generation, Stages([39, 6, 7])), broken_users, candidate_count=5, registry=registry)
    response = pipeline.recommend(RecommendRequest("ann", count=3), Budget(1.0))
    assert len(response.recommendations) == 3
    assert response.rung_reason == "user store unavailable: answered as for an unknown person"
    assert registry.get_sample_value("twostage_gateway_user_store_failures_total") == 1


def test_rungs_and_failures_are_counted(generation: Generation, users: SqliteUserStore) -> None:
    registry = CollectorRegistry()
    stages = Stages([5, 6])
    pipeline = make_pipeline(OneWay(generation, stages), users, candidate_count=5, registry=registry)
    pipeline.recommend(RecommendRequest(count=1), Budget(1.0))
    stages.ranking_failure = StageLate("ranking", "slow")
    pipeline.recommend(RecommendRequest(count=1), Budget(1.0))
    sample = registry.get_sample_value
    assert sample("twostage_gateway_recommendations_total", {"rung": "FULL"}) == 1
    assert sample("twostage_gateway_recommendations_total", {"rung": "RETRIEVAL_ORDER"}) == 1
    assert sample("twostage_gateway_stage_failures_total", {"stage": "ranking", "kind": "late"}) == 1


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (RecommendRequest(filter=Filter((Condition("nope"),))), r"filter\.conditions\[0\]\.attribute"),
        (RecommendRequest(attributes=["tags", "nope"]), r"attributes\[1\]"),
        (RecommendRequest(diversity=Diversity(0.0, (Cap("year", 1),))), r"diversity\.caps\[0\]\.attribute"),
    ],
)
def test_attributes_that_are_not_there_are_refused_before_anybody_is_asked(
    generation: Generation, users: SqliteUserStore, request_: RecommendRequest, field: str
) -> None:
    stages = Stages([5])
    with pytest.raises(InvalidField, match=f"{field}: expected"):
        answer(generation, users, stages, request_)
    assert stages.person is None


def test_what_a_stage_refuses_reaches_the_caller(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5])
    stages.retrieval_failure = InvalidField("filter.conditions[0].range", "values", "a range")
    with pytest.raises(InvalidField, match="range"):
        answer(generation, users, stages, RecommendRequest())


def test_what_was_just_recorded_is_in_the_next_request(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5])
    users.record([NewEvent("e4", "ann", "i3", "to_read", None, 99)])
    answer(generation, users, stages, RecommendRequest("ann"))
    assert stages.person is not None
    assert list(stages.person.history.rows) == [39, 3]
    assert list(stages.person.history.times_seconds) == [10, 99]


def test_weights_of_the_history_go_from_retrieval_to_ranking_and_explanations_come_back(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([5])
    response = answer(generation, users, stages, RecommendRequest("ann", explain=True))
    assert stages.history_weights == [0.25]
    assert response.recommendations[0].explanations == [Explanation("i39", "Title 39", 0.25, 0.5, 0.125, 1.5)]
    answer(generation, users, stages, RecommendRequest("ann"))
    assert not stages.history_weights


def test_a_full_trace_says_in_words_what_each_stage_did(generation: Generation, users: SqliteUserStore) -> None:
    response = answer(generation, users, Stages([5, 6, 7]), RecommendRequest("ann", count=1, trace=True))
    assert response.recommendations[0].trace is not None
    assert list(response.recommendations[0].trace.steps) == ["found by user_vector at 2 of 3", "ranked 1 by liked 0.50"]
