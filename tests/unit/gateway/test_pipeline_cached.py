from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung, StageLate, StageUnavailable
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse, Shortfall, ShortfallReason
from gateway.pipeline import Pipeline
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from tests.unit.gateway.stages import Columns, OneWay, Stages, Ways, ids, make_pipeline
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.features.diversity import Cap, Diversity

ANN = RecommendRequest("ann", count=4)
# Ranking turns them around, so ann is answered i13, i12, i11, i10.
ROWS = [4, 10, 11, 12, 13]


def ask(pipeline: Pipeline[Columns], request: RecommendRequest) -> RecommendResponse:
    return pipeline.recommend(request, Budget(1.0))


@pytest.fixture
def stages() -> Stages:
    return Stages(ROWS)


@pytest.fixture
def pipeline(generation: Generation, users: SqliteUserStore, stages: Stages) -> Pipeline[Columns]:
    """Has answered ann once, and from then on retrieval is gone."""
    pipeline = make_pipeline(OneWay(generation, stages), users)
    assert ids(ask(pipeline, ANN)) == ["i13", "i12", "i11", "i10"]
    stages.retrieval_failure = StageUnavailable("retrieval", "gone")
    return pipeline


def test_without_retrieval_an_earlier_answer_comes_again_under_its_own_rung(pipeline: Pipeline[Columns]) -> None:
    response = ask(pipeline, replace(ANN, trace=True, attributes=["tags"]))
    assert response.rung is Rung.CACHED
    assert response.rung_reason.startswith("retrieval unavailable: gone; answered from the earlier answer ")
    assert ids(response) == ["i13", "i12", "i11", "i10"]
    assert [each.score for each in response.recommendations] == [1.0, 0.99, 0.98, 0.97]
    assert {each.sources for each in response.recommendations} == {("cached",)}
    first = response.recommendations[0]
    assert (first.title, first.attributes, first.action_scores) == ("Title 13", {"tags": "odd"}, {})
    assert first.trace is not None
    assert first.trace.steps == ["stood at 1 of an earlier answer, without retrieval"]
    assert (response.shortfall, response.ranker, response.generation) == (None, "", 1)


def test_the_reason_names_the_earlier_answer(generation: Generation, users: SqliteUserStore, stages: Stages) -> None:
    pipeline = make_pipeline(OneWay(generation, stages), users)
    earlier = ask(pipeline, ANN).request_id
    stages.retrieval_failure = StageLate("retrieval", "slow")
    assert ask(pipeline, ANN).rung_reason == f"retrieval late: slow; answered from the earlier answer {earlier}"


def test_popular_items_fill_up_what_the_earlier_answer_lacks_and_say_so(pipeline: Pipeline[Columns]) -> None:
    response = ask(pipeline, replace(ANN, count=6, exclude_item_ids=["i12"]))
    assert response.rung is Rung.CACHED
    assert ids(response) == ["i13", "i11", "i10", "i37", "i36", "i35"]
    assert [each.sources[0] for each in response.recommendations] == ["cached"] * 3 + ["popular"] * 3
    assert [each.score for each in response.recommendations] == [1.0, 0.98, 0.97, 0.0, 0.0, 0.0]


def test_scores_stay_in_order_where_the_earlier_ones_were_below_0(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([10, 11], [-0.25, -0.5])
    stages.ranking_failure = StageLate("ranking", "slow")
    pipeline = make_pipeline(OneWay(generation, stages), users)
    assert ask(pipeline, replace(ANN, count=2)).rung is Rung.RETRIEVAL_ORDER
    stages.retrieval_failure = StageLate("retrieval", "slow")
    response = ask(pipeline, replace(ANN, count=3))
    assert (response.rung, ids(response)) == (Rung.CACHED, ["i10", "i11", "i37"])
    assert [each.score for each in response.recommendations] == [-0.25, -0.5, -0.5]


def test_what_was_seen_since_is_not_shown(pipeline: Pipeline[Columns], users: SqliteUserStore) -> None:
    users.record([NewEvent("e9", "ann", "i12", "to_read", None, 99)])
    assert ids(ask(pipeline, ANN)) == ["i13", "i11", "i10", "i37"]
    assert ids(ask(pipeline, replace(ANN, include_seen=True))) == ["i13", "i12", "i11", "i10"]


def test_an_answer_with_nothing_left_is_no_answer(pipeline: Pipeline[Columns]) -> None:
    response = ask(pipeline, replace(ANN, exclude_item_ids=[f"i{row}" for row in ROWS]))
    assert (response.rung, response.rung_reason) == (Rung.POPULAR, "retrieval unavailable: gone")


def test_others_and_other_questions_get_popular_items(pipeline: Pipeline[Columns]) -> None:
    assert ask(pipeline, RecommendRequest("bob", count=4)).rung is Rung.POPULAR
    assert ask(pipeline, RecommendRequest(count=4)).rung is Rung.POPULAR
    assert ask(pipeline, replace(ANN, interest_tags=["odd"])).rung is Rung.POPULAR


def test_what_was_not_made_from_candidates_is_not_remembered(
    generation: Generation, users: SqliteUserStore, stages: Stages
) -> None:
    stages.retrieval_failure = StageLate("retrieval", "slow")
    pipeline = make_pipeline(OneWay(generation, stages), users)
    assert [ask(pipeline, ANN).rung for _ in range(3)] == [Rung.POPULAR] * 3


def test_a_cached_answer_does_not_become_younger_by_being_given(
    generation: Generation, users: SqliteUserStore, stages: Stages
) -> None:
    pipeline = make_pipeline(OneWay(generation, stages), users)
    earlier = ask(pipeline, ANN).request_id
    stages.retrieval_failure = StageLate("retrieval", "slow")
    assert all(earlier in ask(pipeline, ANN).rung_reason for _ in range(3))


def test_pins_of_the_earlier_request_are_not_remembered_and_those_of_this_one_stand_first(
    generation: Generation, users: SqliteUserStore, stages: Stages
) -> None:
    pipeline = make_pipeline(OneWay(generation, stages), users)
    assert ids(ask(pipeline, replace(ANN, pinned_item_ids=["i4"]))) == ["i4", "i13", "i12", "i11"]
    stages.retrieval_failure = StageLate("retrieval", "slow")
    response = ask(pipeline, replace(ANN, pinned_item_ids=["i30", "i12"], trace=True))
    assert ids(response) == ["i30", "i12", "i13", "i11"]
    assert [each.sources[0] for each in response.recommendations] == ["included", "included", "cached", "cached"]
    assert [each.trace.steps[0] for each in response.recommendations if each.trace] == [
        "pinned to 1",
        "pinned to 2",
        "stood at 1 of an earlier answer, without retrieval",
        "stood at 3 of an earlier answer, without retrieval",
    ]


def test_a_person_who_was_deleted_gets_nothing_of_what_they_were_answered(
    pipeline: Pipeline[Columns], users: SqliteUserStore
) -> None:
    users.forget("ann")
    assert ask(pipeline, ANN).rung is Rung.POPULAR
    # Nor when they come back.
    users.record([NewEvent("e10", "ann", "i1", "to_read", None, 99)])
    assert ask(pipeline, ANN).rung is Rung.POPULAR


def test_a_person_who_was_deleted_elsewhere_and_came_back_gets_nothing_either(
    pipeline: Pipeline[Columns], users: SqliteUserStore
) -> None:
    users.forget("ann")
    users.record([NewEvent("e10", "ann", "i1", "to_read", None, 99)])
    assert ask(pipeline, ANN).rung is Rung.POPULAR


def test_somebody_whom_the_store_never_knew_is_answered_from_the_cache(
    generation: Generation, users: SqliteUserStore, stages: Stages
) -> None:
    pipeline = make_pipeline(OneWay(generation, stages), users)
    request = RecommendRequest("new here", recent_item_ids=["i1", "i2"], count=3)
    ask(pipeline, request)
    stages.retrieval_failure = StageLate("retrieval", "slow")
    assert ask(pipeline, request).rung is Rung.CACHED
    assert ids(ask(pipeline, replace(request, recent_item_ids=["i1", "i13"]))) == ["i12", "i11", "i39"]


def test_where_the_store_cannot_be_read_nobody_knows_what_was_seen_and_no_answer_is_used(
    generation: Generation, broken_users: SqliteUserStore, stages: Stages
) -> None:
    pipeline = make_pipeline(OneWay(generation, stages), broken_users)
    assert ask(pipeline, ANN).rung is Rung.FULL
    stages.retrieval_failure = StageLate("retrieval", "slow")
    response = ask(pipeline, ANN)
    assert response.rung is Rung.POPULAR
    assert response.rung_reason == ("retrieval late: slow; user store unavailable: answered as for an unknown person")


def test_an_answer_of_another_generation_is_named_by_it_and_needs_it_to_be_held(
    generation: Generation, newer: Generation, users: SqliteUserStore
) -> None:
    first, second = Stages([30, 31, 32]), Stages([5])
    second.generation = 2
    ways = Ways((generation, first), (newer, second))
    pipeline = make_pipeline(ways, users)
    assert ask(pipeline, replace(ANN, count=3)).generation == 1
    second.retrieval_failure = StageLate("retrieval", "slow")
    response = ask(pipeline, replace(ANN, count=4))
    # i37 is popular in the older generation, the newer one does not have it.
    assert (response.rung, response.generation, ids(response)) == (Rung.CACHED, 1, ["i32", "i31", "i30", "i37"])
    ways.gone.add(1)
    response = ask(pipeline, replace(ANN, count=4))
    assert (response.rung, response.generation) == (Rung.POPULAR, 2)


def test_a_ranker_that_only_the_newer_generation_has_keeps_the_older_answer_unused(
    generation: Generation, newer: Generation, users: SqliteUserStore
) -> None:
    first, second = Stages([3, 4]), Stages([30, 31])
    first.generation = 2
    ways = Ways((newer, first), (generation, second))
    pipeline = make_pipeline(ways, users)
    asked = replace(ANN, filter=Filter((Condition("tags", none_of=("none",)),)))
    assert ask(pipeline, asked).generation == 2
    second.retrieval_failure = StageLate("retrieval", "slow")
    assert ask(pipeline, replace(asked, ranker="deepfm")).rung is Rung.POPULAR
    assert ask(pipeline, asked).generation == 2


def test_a_clock_that_jumps_makes_no_answer_older(pipeline: Pipeline[Columns], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert ask(pipeline, ANN).rung is Rung.CACHED
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert ask(pipeline, ANN).rung is Rung.CACHED


def expected(
    earlier: Sequence[int], pins: Sequence[int], barred: set[int], tag: str, cap: int | None, count: int
) -> tuple[list[int], list[int]]:
    """By brute force: what is shown, and what only a cap kept out."""

    def passes(row: int) -> bool:
        return row not in barred and (not tag or row % 2 == (0 if tag == "even" else 1))

    shown = [row for row in dict.fromkeys(pins) if passes(row)][:count]
    shares = Counter(row % 2 for row in shown)
    capped = []
    for row in dict.fromkeys(chain(earlier, range(39, -1, -1))):
        if len(shown) == count:
            break
        if passes(row) and row not in shown:
            if cap is not None and shares[row % 2] >= cap:
                capped.append(row)
            else:
                shares[row % 2] += 1
                shown.append(row)
    return shown, capped


@given(
    earlier=st.lists(st.integers(0, 37), unique=True, min_size=1, max_size=38),
    count=st.integers(1, 60),
    excluded=st.lists(st.integers(0, 45), max_size=45),
    seen_now=st.lists(st.integers(0, 39), max_size=10),
    include_seen=st.booleans(),
    tag=st.sampled_from(["", "even", "odd"]),
    cap=st.none() | st.integers(1, 20),
    pins=st.lists(st.integers(0, 39), max_size=5),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_earlier_answer_obeys_every_rule_of_the_present_request(
    generation: Generation,
    users: SqliteUserStore,
    earlier: list[int],
    count: int,
    excluded: list[int],
    seen_now: list[int],
    include_seen: bool,
    tag: str,
    cap: int | None,
    pins: list[int],
) -> None:
    stages = Stages(earlier)
    pipeline = make_pipeline(OneWay(generation, stages), users)
    first = RecommendRequest("ann", count=200, filter=Filter((Condition("tags", any_of=(tag,)),)) if tag else Filter())
    remembered = [int(item_id[1:]) for item_id in ids(ask(pipeline, first))]
    stages.retrieval_failure = StageLate("retrieval", "slow")
    request = replace(
        first,
        count=count,
        exclude_item_ids=[f"i{row}" for row in excluded],
        include_seen=include_seen,
        recent_item_ids=[f"i{row}" for row in seen_now],
        diversity=Diversity(0.0, (Cap("tags", cap),) if cap else ()),
        pinned_item_ids=[f"i{row}" for row in pins],
    )
    response = ask(pipeline, request)
    barred = set(excluded) | (set() if include_seen else {38, 39, *seen_now})
    shown, capped = expected(remembered, pins, barred, tag, cap, count)
    if response.rung is Rung.CACHED:
        assert ids(response) == [f"i{row}" for row in shown]
        assert "answered from the earlier answer" in response.rung_reason
    else:
        # Only where nothing of it was of use.
        assert not set(remembered) & (set(shown) - set(pins))
        assert response.rung is Rung.POPULAR
    assert not {int(item_id[1:]) for item_id in ids(response)} & barred
    missing = response.shortfall.missing_count if response.shortfall is not None else 0
    assert len(response.recommendations) + missing == count
    if missing and count <= 40 and response.rung is Rung.CACHED:
        enough = len(shown) + len(capped) >= count
        reason = ShortfallReason.SELECTION_POLICY if enough else ShortfallReason.EXCLUDED
        assert response.shortfall == Shortfall(missing, reason)
