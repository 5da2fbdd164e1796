from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import (
    NoCommonGeneration,
    Rung,
    StageFailure,
    StageLate,
    StageUnavailable,
    StageWithoutGeneration,
)
from gateway.engine.person import Person, StoredUser
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation, RecommendResponse, Shortfall, ShortfallReason, Timing
from gateway.engine.stages import Ranked, RankedItem, Retrieved, Route, SimilarRoute
from gateway.engine.taste import TasteRule
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent, UserStore, UserStoreUnavailable
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField
from twostage.features.diversity import Cap, Diversity

RANKERS = {"content": ["liked", "rated"], "deepfm": ["liked"]}
TAGS = [["even" if row % 2 == 0 else "odd"] for row in range(40)]


class Columns:
    """Candidates as arrays; what the adapters keep in messages."""

    def __init__(self, rows: Sequence[int], scores: Sequence[float]) -> None:
        self._rows, self._scores = np.array(rows, np.uint32), np.array(scores, np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> NDArray[np.uint32]:
        return self._rows

    def scores(self) -> NDArray[np.float32]:
        return self._scores

    def score(self, index: int) -> float:
        return float(self._scores[index])

    def sources(self, index: int) -> Sequence[str]:
        return ("user_vector",) if index % 2 == 0 else ("popular",)

    def source_ranks(self, index: int) -> Mapping[str, int]:
        return {self.sources(index)[0]: index // 2 + 1}


class Stages:
    """Both stages in this process: retrieval offers rows in an order, ranking turns the list around."""

    def __init__(self, rows: Sequence[int], scores: Sequence[float] | None = None) -> None:
        self.candidates = Columns(rows, scores if scores is not None else np.linspace(1, 0, len(rows)).tolist())
        self.shortfall: Shortfall | None = None
        self.retrieval_failure: Exception | None = None
        self.ranking_failure: Exception | None = None
        self.person: Person | None = None
        self.asked_count = 0
        self.history_weights: Sequence[float] = ()
        self.pinned_rows: Sequence[int] = ()
        self.generation = 1

    def retrieve(
        self, request: RecommendRequest, person: Person, *, generation: int, count: int, timeout_seconds: float
    ) -> Retrieved[Columns]:
        assert generation == self.generation
        assert 0 < timeout_seconds < 1
        assert count >= min(request.count, 40)
        self.person, self.asked_count = person, count
        if self.retrieval_failure is not None:
            raise self.retrieval_failure
        weights = [0.25] * len(person.history.rows) if request.explain else []
        return Retrieved(self.candidates, self.shortfall, [Timing("retrieval", 1.0, 0.5)], weights)

    def rank(
        self,
        request: RecommendRequest,
        person: Person,
        candidates: Columns,
        *,
        generation: int,
        timeout_seconds: float,
        history_weights: Sequence[float] = (),
        pinned_rows: Sequence[int] = (),
    ) -> Ranked:
        assert generation == self.generation
        self.history_weights, self.pinned_rows = history_weights, pinned_rows
        assert 0 < timeout_seconds < 1
        assert person is self.person
        if self.ranking_failure is not None:
            raise self.ranking_failure
        order = list(reversed(range(len(candidates))))[: request.count]
        items = [
            RankedItem(
                item_id=f"i{candidates.rows()[index]}",
                score=1.0 - position / 100,
                candidate_index=index,
                title=f"Title {candidates.rows()[index]}",
                action_scores={"liked": 0.5},
                attributes={},
                ranking_rank=position + 1,
                reasons=(),
                explanations=[Explanation("i39", "Title 39", 0.25, 0.5, 0.125, 1.5)] if request.explain else [],
            )
            for position, index in enumerate(order)
        ]
        return Ranked(items, [Timing("ranking", 2.0, 0.25)], ranker=request.ranker or "content")


class OneWay:
    """Everybody holds one generation."""

    def __init__(self, generation: Generation, stages: Stages) -> None:
        self._route = Route(Catalogue(generation), stages, stages)

    def choose(self) -> Route[Columns]:
        return self._route

    def choose_similar(self, item_id: str) -> SimilarRoute:
        raise NotImplementedError(item_id)


class Ways(OneWay):
    """One way for the first choice, another for the next."""

    def __init__(self, *ways: tuple[Generation, Stages]) -> None:
        self._ways = [Route(Catalogue(generation), stages, stages) for generation, stages in ways]
        self.choice_count = 0

    def choose(self) -> Route[Columns]:
        self.choice_count += 1
        return self._ways[min(self.choice_count, len(self._ways)) - 1]


class BrokenStore:
    """A store whose disk is gone; that fault cannot be produced on a whole one."""

    def read(
        self, user_id: str, rule: TasteRule, *, taste_count: int = 50, seen_count: int = 10_000
    ) -> StoredUser | None:
        del user_id, rule, taste_count, seen_count
        raise UserStoreUnavailable("disk I/O error")

    def record(self, events: Sequence[NewEvent]) -> int:
        del events
        raise UserStoreUnavailable("disk I/O error")

    def forget(self, user_id: str) -> bool:
        del user_id
        raise UserStoreUnavailable("disk I/O error")

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[float(row) for row in range(40)], tags=TAGS, rankers=RANKERS)


@pytest.fixture(scope="module")
def newer(generation: Generation) -> Generation:
    """The generation after, in which half of the items are gone and so is a ranker."""
    store = generation.path.parent.parent
    return publish_items(
        store, popularity=[float(row) for row in range(20)], tags=TAGS[:20], rankers={"content": ["liked"]}
    )


@pytest.fixture
def users(tmp_path: Path) -> Iterator[SqliteUserStore]:
    store = SqliteUserStore(tmp_path / "users.sqlite")
    store.record(
        [
            NewEvent("e1", "ann", "i39", "rated", 5.0, 10),
            NewEvent("e2", "ann", "i38", "rated", 1.0, 20),
            NewEvent("e3", "ann", "vanished", "to_read", None, 30),
        ]
    )
    yield store
    store.close()


def answer(
    generation: Generation, users: UserStore, stages: Stages, request: RecommendRequest, candidate_count: int = 500
) -> RecommendResponse:
    pipeline = Pipeline(
        OneWay(generation, stages), users, candidate_count=candidate_count, observer=Observer(CollectorRegistry())
    )
    return pipeline.recommend(request, Budget(1.0))


def ids(response: RecommendResponse) -> list[str]:
    return [recommendation.item_id for recommendation in response.recommendations]


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
    pipeline = Pipeline(
        OneWay(generation, Stages([5])), users, candidate_count=5, observer=Observer(CollectorRegistry())
    )
    response = pipeline.recommend(RecommendRequest(count=5), Budget(0.006))
    assert response.rung is Rung.POPULAR
    assert len(response.recommendations) == 5
    assert response.rung_reason.startswith("retrieval late: not asked")


def test_a_failing_user_store_is_answered_as_for_an_unknown_person(generation: Generation) -> None:
    registry = CollectorRegistry()
    stages = Stages([39, 6, 7])
    pipeline = Pipeline(OneWay(generation, stages), BrokenStore(), candidate_count=5, observer=Observer(registry))
    response = pipeline.recommend(RecommendRequest("ann", count=3), Budget(1.0))
    assert len(response.recommendations) == 3
    assert response.rung_reason == "user store unavailable: answered as for an unknown person"
    assert registry.get_sample_value("twostage_gateway_user_store_failures_total") == 1


def test_rungs_and_failures_are_counted(generation: Generation, users: SqliteUserStore) -> None:
    registry = CollectorRegistry()
    stages = Stages([5, 6])
    pipeline = Pipeline(OneWay(generation, stages), users, candidate_count=5, observer=Observer(registry))
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
        pipeline = Pipeline(ways, users, candidate_count=5, observer=Observer(registry))
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


def answer_by(ways: Ways, users: UserStore, request: RecommendRequest) -> RecommendResponse:
    pipeline = Pipeline(ways, users, candidate_count=500, observer=Observer(CollectorRegistry()))
    return pipeline.recommend(request, Budget(1.0))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ranker": "din"}, "ranker: expected one of content, deepfm, received 'din'"),
        ({"blend": {"sold": 1.0}}, "blend[sold]: expected one of the actions liked, rated"),
        ({"ranker": "deepfm", "blend": {"rated": 1.0}}, "blend[rated]: expected one of the actions liked"),
    ],
)
def test_a_ranker_or_an_action_that_is_not_there_is_refused_before_anybody_is_asked(
    generation: Generation, users: SqliteUserStore, asked: dict[str, Any], message: str
) -> None:
    stages = Stages([5])
    with pytest.raises(InvalidField, match=re.escape(message)):
        answer(generation, users, stages, RecommendRequest(**asked))
    assert stages.person is None


def test_the_ranker_that_scored_is_told(generation: Generation, users: SqliteUserStore) -> None:
    stages = Stages([5, 6])
    assert answer(generation, users, stages, RecommendRequest()).ranker == "content"
    assert answer(generation, users, stages, RecommendRequest(ranker="deepfm")).ranker == "deepfm"
    stages.ranking_failure = StageLate("ranking", "slow")
    response = answer(generation, users, stages, RecommendRequest(ranker="deepfm", blend={"liked": 1.0}))
    assert response.ranker == ""
    assert response.rung_reason == "ranking late: slow; ranker and blend were not applied"
    stages.retrieval_failure = StageLate("retrieval", "slow")
    response = answer(generation, users, stages, RecommendRequest(blend={"liked": 1.0}, explain=True))
    assert response.rung_reason == "retrieval late: slow; blend was not applied; nothing could be explained"


def test_weights_of_the_history_go_from_retrieval_to_ranking_and_explanations_come_back(
    generation: Generation, users: SqliteUserStore
) -> None:
    stages = Stages([5])
    response = answer(generation, users, stages, RecommendRequest("ann", explain=True))
    assert stages.history_weights == [0.25]
    assert response.recommendations[0].explanations == [Explanation("i39", "Title 39", 0.25, 0.5, 0.125, 1.5)]
    answer(generation, users, stages, RecommendRequest("ann"))
    assert not stages.history_weights


def test_pins_are_sent_as_rows_and_stand_first_on_every_rung(generation: Generation, users: SqliteUserStore) -> None:
    # i39 was seen by ann, i8 is excluded, and nobody knows "nix".
    request = RecommendRequest(
        "ann", count=4, pinned_item_ids=["i6", "i39", "nix", "i8", "i3"], exclude_item_ids=["i8"], trace=True
    )
    stages = Stages([5, 6, 7, 3])
    answer(generation, users, stages, request)
    assert stages.pinned_rows == (6, 39, 8, 3)

    stages.ranking_failure = StageLate("ranking", "slow")
    response = answer(generation, users, stages, request)
    assert ids(response) == ["i6", "i3", "i5", "i7"]
    assert [r.trace.steps[-1] for r in response.recommendations if r.trace] == [
        "pinned to 1",
        "pinned to 2",
        "moved from 1 to 3 by pins",
        "moved from 3 to 4 by pins",
    ]

    stages.retrieval_failure = StageLate("retrieval", "slow")
    response = answer(generation, users, stages, request)
    assert ids(response) == ["i6", "i3", "i37", "i36"]
    assert [r.sources for r in response.recommendations] == [("included",)] * 2 + [("popular",)] * 2
    assert [r.trace.steps for r in response.recommendations if r.trace] == [
        ["pinned to 1"],
        ["pinned to 2"],
        ["taken for its popularity of 37, without retrieval"],
        ["taken for its popularity of 36, without retrieval"],
    ]
    odd = Filter((Condition("tags", any_of=("odd",)),))
    assert ids(answer(generation, users, stages, replace(request, filter=odd))) == ["i3", "i37", "i35", "i33"]


@pytest.mark.parametrize("failing", ["ranking_failure", "retrieval_failure"])
def test_pins_count_for_caps_and_are_not_held_back_by_them(
    generation: Generation, users: SqliteUserStore, failing: str
) -> None:
    stages = Stages(list(range(10)))
    setattr(stages, failing, StageLate("ranking", "slow"))
    request = RecommendRequest(
        count=5, pinned_item_ids=["i4", "i2"], diversity=Diversity(0.0, (Cap("tags", 1),)), trace=True
    )
    response = answer(generation, users, stages, request)
    # Two even ones by pin are more than the cap: only an odd one may follow.
    best_odd = "i1" if failing == "ranking_failure" else "i39"
    assert ids(response) == ["i4", "i2", best_odd]
    assert response.shortfall == Shortfall(2, ShortfallReason.SELECTION_POLICY)


def test_a_full_trace_says_in_words_what_each_stage_did(generation: Generation, users: SqliteUserStore) -> None:
    response = answer(generation, users, Stages([5, 6, 7]), RecommendRequest("ann", count=1, trace=True))
    assert response.recommendations[0].trace is not None
    assert list(response.recommendations[0].trace.steps) == ["found by user_vector at 2 of 3", "ranked 1 by liked 0.50"]


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
