from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from gateway.engine.ladder import StageLate
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.users.sqlite_store import SqliteUserStore
from tests.unit.gateway.stages import Stages, answer, ids
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField
from twostage.features.diversity import Cap, Diversity


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
