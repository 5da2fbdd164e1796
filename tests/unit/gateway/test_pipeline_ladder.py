from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageFailure, StageLate, StageUnavailable
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.users.sqlite_store import SqliteUserStore
from tests.unit.gateway.stages import OneWay, Stages, answer, ids, make_pipeline
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.features.diversity import Cap, Diversity


@pytest.mark.parametrize("failure", [StageLate("ranking", "slow"), StageUnavailable("ranking", "gone")])
def test_without_ranking_the_order_is_retrievals(
    generation: Generation, users: SqliteUserStore, failure: StageFailure
) -> None:
    stages = Stages([5, 6, 7, 8], [0.1, 0.9, 0.5, 0.9])
    stages.ranking_failure = failure
    response = answer(generation, users, stages, RecommendRequest("ann", count=3, attributes=["tags"], trace=True))
    assert (response.rung, response.rung_reason) == (Rung.RETRIEVAL_ORDER, failure.reason)
    assert ids(response) == ["i6", "i8", "i7"]
    first, second, _ = response.recommendations
    assert (first.title, first.attributes, first.action_scores) == ("Title 6", {"tags": "even"}, {})
    assert [r.score for r in response.recommendations] == pytest.approx([0.9, 0.9, 0.5])
    assert (first.candidate_rank, second.candidate_rank) == (2, 4)
    assert second.trace is not None
    assert (second.trace.retrieval_rank, second.trace.ranking_rank, second.trace.final_rank) == (2, 0, 2)
    assert second.trace.source_ranks == {"popular": 2}


def test_without_retrieval_popular_items_answer(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5])
    stages.retrieval_failure = StageUnavailable("retrieval", "gone")
    response = answer(generation, users, stages, RecommendRequest("ann", count=3, exclude_item_ids=["i36"]))
    assert (response.rung, response.rung_reason) == (Rung.POPULAR, "retrieval unavailable: gone")
    assert ids(response) == ["i37", "i35", "i34"]
    assert [r.score for r in response.recommendations] == [37.0, 35.0, 34.0]
    assert all(r.sources == ("popular",) and r.candidate_rank == 0 for r in response.recommendations)


def test_popular_items_obey_filter_and_caps_and_state_what_is_missing(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([5])
    stages.retrieval_failure = StageLate("retrieval", "slow")
    odd = Filter((Condition("tags", any_of=("odd",)),))
    response = answer(generation, users, stages, RecommendRequest("ann", count=25, filter=odd))
    assert ids(response) == [f"i{row}" for row in range(37, 0, -2)]
    assert response.shortfall == Shortfall(6, ShortfallReason.EXCLUDED)

    spread = Diversity(0.5, (Cap("tags", 2),))
    request = RecommendRequest("ann", count=25, diversity=spread, interest_tags=["odd"])
    response = answer(generation, users, stages, request)
    assert ids(response) == ["i37", "i36", "i35", "i34"]
    assert response.shortfall == Shortfall(21, ShortfallReason.SELECTION_POLICY)
    assert response.rung_reason == (
        "retrieval late: slow; interest_tags were not read; diversity.strength was not applied, caps were"
    )


def test_caps_hold_in_retrievals_order_too(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([2, 4, 6, 7, 9])
    stages.ranking_failure = StageLate("ranking", "slow")
    request = RecommendRequest(count=3, diversity=Diversity(0.0, (Cap("tags", 1),)))
    response = answer(generation, users, stages, request)
    assert ids(response) == ["i2", "i7"]
    assert response.shortfall == Shortfall(1, ShortfallReason.SELECTION_POLICY)


def test_fewer_candidates_than_asked_for_is_explained_by_retrieval(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([5, 6])
    stages.shortfall = Shortfall(38, ShortfallReason.EXCLUDED)
    assert answer(generation, users, stages, RecommendRequest(count=5)).shortfall == Shortfall(
        3, ShortfallReason.EXCLUDED
    )
    assert answer(generation, users, stages, RecommendRequest(count=50)).shortfall == Shortfall(
        48, ShortfallReason.CATALOGUE_TOO_SMALL
    )


def test_no_time_for_a_stage_is_a_rung_lower(generation: Generation, users: SqliteUserStore) -> None:
    pipeline = make_pipeline(OneWay(generation, Stages([5])), users, candidate_count=5)
    response = pipeline.recommend(RecommendRequest(count=5), Budget(0.006))
    assert response.rung is Rung.POPULAR
    assert len(response.recommendations) == 5
    assert response.rung_reason.startswith("retrieval late: not asked")


def test_candidates_that_are_no_items_of_the_generation_are_not_named(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([5, 40])
    stages.ranking_failure = StageUnavailable("ranking", "refuses them")
    response = answer(generation, users, stages, RecommendRequest(count=2))
    assert (response.rung, response.rung_reason) == (
        Rung.POPULAR,
        "retrieval unavailable: expected rows below 40, received 40",
    )
    assert ids(response) == ["i39", "i38"]


def test_a_wall_clock_that_jumps_while_a_request_is_answered_costs_it_nothing(
    generation: Generation, users: SqliteUserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(OneWay(generation, Stages([5, 6])), users)
    for now in (0.0, 4e9):
        budget = Budget(0.9)
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert 0.5 < budget.remaining_seconds <= 0.9
        assert pipeline.recommend(RecommendRequest("ann", count=2), budget).rung is Rung.FULL


@given(
    rows=st.lists(st.integers(0, 39), unique=True, max_size=40),
    count=st.integers(1, 200),
    cap=st.none() | st.integers(1, 30),
    excluded=st.lists(st.integers(0, 45), max_size=45),
    failing=st.sampled_from(["", "ranking", "retrieval"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_given_and_what_is_missing_is_what_was_asked_for(
    generation: Generation,
    users: SqliteUserStore,
    rows: list[int],
    count: int,
    cap: int | None,
    excluded: list[int],
    failing: str,
) -> None:
    stages = Stages(rows)
    stages.ranking_failure = StageLate("ranking", "slow") if failing == "ranking" else None
    stages.retrieval_failure = StageLate("retrieval", "slow") if failing == "retrieval" else None
    request = RecommendRequest(
        count=count,
        diversity=Diversity(0.0, (Cap("tags", cap),) if cap else ()),
        exclude_item_ids=[f"i{row}" for row in excluded],
    )
    response = answer(generation, users, stages, request)
    missing = response.shortfall.missing_count if response.shortfall is not None else 0
    assert len(response.recommendations) + missing == count
    assert response.shortfall is None or missing > 0
    assert len(set(ids(response))) == len(response.recommendations)
    scores = [recommendation.score for recommendation in response.recommendations]
    assert scores == sorted(scores, reverse=True)
    assert bool(response.rung_reason) == (response.rung is not Rung.FULL)
