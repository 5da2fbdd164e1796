from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.budget import Budget, BudgetPolicy
from gateway.engine.fewer import first_positions
from gateway.engine.ladder import Rung, StageLate
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.engine.stage_times import StageTimes
from gateway.users.sqlite_store import SqliteUserStore
from tests.unit.gateway.catalogue import publish_items
from tests.unit.gateway.small_stages import OneGeneration, SmallStages
from tests.unit.gateway.stages import Kept, OneWay, Stages, answer, ids, make_pipeline
from twostage.bundle.generation import Generation
from twostage.features.diversity import Cap, Diversity

ROWS = list(range(30))


class Slow(Budget):
    """Has time for so many candidates; what measures that is tested with the budget."""

    def __init__(self, affordable: int) -> None:
        super().__init__(1.0)
        self.affordable = affordable

    def affordable_candidates(self, wanted_count: int) -> int:
        return min(self.affordable, wanted_count)


def test_ranking_gets_as_many_candidates_as_there_is_time_for(generation: Generation, users: SqliteUserStore) -> None:
    stages, kept = Stages(ROWS), Kept()
    pipeline = make_pipeline(OneWay(generation, stages), users, recorder=kept)
    response = pipeline.recommend(RecommendRequest(count=4, trace=True), Slow(12))
    assert response.rung is Rung.FEWER_CANDIDATES
    assert response.rung_reason == "ranking had time for 12 of 30 candidates"
    assert stages.ranked_counts == [12]
    # The first twelve, turned around.
    assert ids(response) == ["i11", "i10", "i9", "i8"]
    assert (response.ranker, response.recommendations[0].action_scores) == ("content", {"liked": 0.5})
    assert response.recommendations[0].candidate_rank == 12
    served = kept.served[0]
    assert served.candidates is stages.candidates
    assert served.ranked is not None
    assert served.ranked.candidate_count == 12


def test_never_fewer_than_what_is_asked_for(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages(ROWS)
    pipeline = make_pipeline(OneWay(generation, stages), users)
    response = pipeline.recommend(RecommendRequest(count=25), Slow(3))
    assert (response.rung, stages.ranked_counts, len(ids(response))) == (Rung.FEWER_CANDIDATES, [25], 25)
    response = pipeline.recommend(RecommendRequest(count=30), Slow(3))
    assert (response.rung, response.rung_reason, stages.ranked_counts) == (Rung.FULL, "", [25, 30])


def test_caps_do_not_shorten_a_list_because_fewer_candidates_are_ranked(tmp_path: Path, users: SqliteUserStore) -> None:
    # The first forty candidates share a tag, and each of the others has its own.
    tags = [["common"]] * 40 + [[f"t{row}"] for row in range(40, 50)]
    stages = SmallStages.random(publish_items(tmp_path, popularity=[1.0] * 50, tags=tags), 1)
    stages.vectors[:, 0] = np.linspace(1.0, 0.5, 50)
    stages.user = np.array([1, 0, 0, 0], np.float32)
    pipeline = make_pipeline(OneGeneration(stages), users)
    request = RecommendRequest(count=6, diversity=Diversity(0.0, (Cap("tags", 1),)), pinned_item_ids=["i7"])
    for affordable in (1, 9):
        response = pipeline.recommend(request, Slow(affordable))
        assert (response.rung, response.shortfall) == (Rung.FEWER_CANDIDATES, None)
        assert ids(response)[0] == "i7"
        # The pin has the common tag, so all others are of those that come last.
        assert len(set(ids(response)[1:]) & {f"i{row}" for row in range(40, 50)}) == 5


def test_pinned_candidates_are_among_the_ranked_ones_and_keep_their_places_among_all(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages(ROWS)
    pipeline = make_pipeline(OneWay(generation, stages), users)
    request = RecommendRequest(count=4, pinned_item_ids=["i25", "i2", "i39"], trace=True)
    response = pipeline.recommend(request, Slow(10))
    assert stages.ranked_counts == [10]
    assert ids(response) == ["i25", "i2", "i8", "i7"]
    assert [each.candidate_rank for each in response.recommendations] == [26, 3, 9, 8]
    assert response.recommendations[0].trace is not None
    assert response.recommendations[0].trace.retrieval_rank == 26


def test_retrieval_that_was_given_too_little_is_fewer_candidates_too(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages(ROWS[:5])
    stages.shortfall = Shortfall(35, ShortfallReason.TOO_FEW_CANDIDATES)
    response = answer(generation, users, stages, RecommendRequest(count=3))
    assert response.rung is Rung.FEWER_CANDIDATES
    assert response.rung_reason == "retrieval gave 5 of 40 candidates"
    stages.shortfall = Shortfall(35, ShortfallReason.EXCLUDED)
    assert answer(generation, users, stages, RecommendRequest(count=3)).rung is Rung.FULL


def test_measured_times_decide(generation: Generation, users: SqliteUserStore) -> None:
    times = StageTimes()
    for _ in range(50):
        for count in (10, 20, 30):
            times.ranking_by_count.record(count, 0.010 * count)
            times.ranking.record(0.010 * count)
    stages = Stages(ROWS)
    pipeline = make_pipeline(OneWay(generation, stages), users)
    policy = BudgetPolicy(measured=times)
    # 152 ms are left for ranking, and every candidate takes 10 ms; this clock stands still.
    response = pipeline.recommend(RecommendRequest(count=2), Budget(0.16, policy, clock=lambda: 0.0))
    assert response.rung_reason == "ranking had time for 15 of 30 candidates"
    assert pipeline.recommend(RecommendRequest(count=2), Budget(0.9, policy)).rung is Rung.FULL


def test_no_candidates_are_no_degradation(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([])
    stages.shortfall = Shortfall(40, ShortfallReason.EXCLUDED)
    response = make_pipeline(OneWay(generation, stages), users).recommend(RecommendRequest(count=2), Slow(0))
    assert (response.rung, ids(response)) == (Rung.FULL, [])


def test_ranking_that_fails_over_fewer_candidates_leaves_retrievals_order_over_all(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages(ROWS)
    stages.ranking_failure = StageLate("ranking", "slow")
    pipeline = make_pipeline(OneWay(generation, stages), users)
    response = pipeline.recommend(RecommendRequest(count=20), Slow(20))
    assert (response.rung, len(ids(response))) == (Rung.RETRIEVAL_ORDER, 20)


@given(
    rows=st.lists(st.integers(0, 100), unique=True, min_size=1, max_size=60),
    count=st.integers(0, 60),
    pins=st.lists(st.integers(0, 120), unique=True, max_size=20),
)
def test_the_first_positions_are_ascending_and_hold_every_pin(rows: list[int], count: int, pins: list[int]) -> None:
    count = min(count, len(rows))
    positions = first_positions(np.array(rows, np.uint32), count, pins)
    assert positions == sorted(set(positions))
    pinned = {rows.index(row) for row in pins if row in rows}
    assert pinned <= set(positions)
    assert len(positions) == max(count, len(pinned))
    # Beside the pins it is the first ones and no others.
    others = [position for position in positions if position not in pinned]
    assert others == [position for position in range(len(rows)) if position not in pinned][: len(others)]


@pytest.mark.parametrize("pins", [(), (3,)])
def test_without_pins_further_down_they_are_the_first(pins: tuple[int, ...]) -> None:
    assert first_positions(np.arange(10, dtype=np.uint32), 4, pins) == [0, 1, 2, 3]
