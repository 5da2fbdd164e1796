from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gateway.engine.ladder import Rung
from gateway.engine.plan import Arm, Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.engine.stages import Ranked
from gateway.impressions.impression_of import ImpressionMaker
from tests.unit.gateway.impressions.answers import served
from twostage.bundle.filters import Condition, Filter
from twostage.features.context import Context
from twostage.features.diversity import Cap, Diversity
from twostage.impressions.candidates_hash import candidates_hash
from twostage.impressions.user_key import UserKeys

KEYS = UserKeys(b"a secret of the tests")
MAKER = ImpressionMaker(KEYS)


def test_an_answer_is_logged_item_by_item() -> None:
    made = MAKER.make(served())
    assert (made.request_id, made.time, made.user_key) == ("r1", 1_700_000_123_250_000, KEYS.user("ann"))
    assert (made.generation, made.rung, made.ranker) == (3, "FULL", "content")
    assert list(made.item_ids) == ["i2", "i0"]
    assert list(made.rows) == [102, 100]
    assert list(made.scores) == pytest.approx([0.9, 0.8])
    assert list(made.retrieval_scores) == [np.float32(0.5), np.float32(1.0)]
    assert list(made.candidate_ranks) == [3, 1]
    assert list(made.sources) == ["popular", "popular"]
    assert list(made.ranking_positions) == [1, 2]
    assert (list(made.actions), list(made.action_scores)) == (["liked", "read"], [0.5, 0.25, 0.4, 0.25])
    assert list(made.propensities) == [1.0, 1.0]
    assert list(made.teams) == ["", ""]


def test_the_person_is_logged_as_they_were_scored() -> None:
    made = MAKER.make(served())
    assert list(made.history_rows) == [1, 2]
    assert list(made.history_actions) == ["rated", "read"]
    assert made.history_values[0] == 4.5
    assert math.isnan(made.history_values[1])
    assert list(made.history_times) == [1_700_000_000, 0]
    assert list(made.excluded_rows) == [3, 9]
    assert (made.context_time, made.unknown_item_count) == (1_700_000_100, 1)


def test_candidates_are_told_by_number_and_hash_and_as_many_are_kept_as_wanted() -> None:
    made = ImpressionMaker(KEYS, 2).make(served())
    rows = np.arange(100, 105, dtype=np.uint32)
    assert (made.candidates_found, made.candidates_hash) == (5, candidates_hash(rows))
    assert list(made.candidate_rows) == [100, 101]
    assert list(made.candidate_scores) == [1.0, 0.75]


def test_on_fewer_candidates_all_of_them_are_kept() -> None:
    answer = served()
    fewer = replace(answer.response, rung=Rung.FEWER_CANDIDATES)
    made = MAKER.make(
        replace(answer, response=fewer, ranked=replace(answer.ranked or Ranked((), ()), candidate_count=4))
    )
    assert (len(made.candidate_rows), made.ranked_count) == (5, 4)


def test_what_was_asked_is_logged_as_text() -> None:
    request = RecommendRequest(
        context=Context("home", "tv", "de", 5, {"ä": "b"}),
        filter=Filter((Condition("tags", ("x",), ("y",)), Condition("year", minimum=1.5))),
        diversity=Diversity(0.25, (Cap("tags", 2),)),
        blend={"liked": 0.1},
        ranker="deepfm",
        interest_tags=["t"],
        include_seen=True,
        explain=True,
    )
    made = MAKER.make(served(request=request, pinned_rows=(7, 5)))
    assert json.loads(made.filter) == [
        {"attribute": "tags", "any_of": ["x"], "none_of": ["y"]},
        {"attribute": "year", "min": 1.5},
    ]
    assert json.loads(made.diversity_caps) == [{"attribute": "tags", "max_count": 2}]
    assert (json.loads(made.blend), json.loads(made.context_attributes)) == ({"liked": 0.1}, {"ä": "b"})
    assert (made.surface, made.device, made.locale, made.context_time) == ("home", "tv", "de", 5)
    assert (made.diversity_strength, made.asked_ranker, made.include_seen, made.explain) == (0.25, "deepfm", True, True)
    assert (list(made.interest_tags), list(made.pinned_rows)) == (["t"], [7, 5])


def test_nothing_asked_is_no_text() -> None:
    made = MAKER.make(served())
    texts = (made.filter, made.diversity_caps, made.blend, made.context_attributes, made.source_quotas, made.rivals)
    assert set(texts) == {""} == {made.overrides}


def test_the_plan_is_logged() -> None:
    rivals = (Rival("a", Overrides()), Rival("b", Overrides("deepfm", {"liked": 2.0}, 0.5)))
    plan = Plan(40, {"popular": 3}, Overrides("x"), exploration=Exploration(0.1, 0.2, 30), rivals=rivals)
    answer = served(plan=plan)
    made = MAKER.make(replace(answer, response=replace(answer.response, arms=(Arm("e", "a"), Arm("f", "b")))))
    assert (made.candidate_count, json.loads(made.source_quotas)) == (40, {"popular": 3})
    assert (made.exploration_epsilon, made.exploration_share, made.exploration_pool_count) == (0.1, 0.2, 30)
    assert json.loads(made.rivals) == [
        {"arm": "a", "ranker": "", "blend": {}, "diversity_strength": None},
        {"arm": "b", "ranker": "deepfm", "blend": {"liked": 2.0}, "diversity_strength": 0.5},
    ]
    assert json.loads(made.overrides) == {"ranker": "x", "blend": {}, "diversity_strength": None}
    assert (list(made.experiments), list(made.arms)) == (["e", "f"], ["a", "b"])


def test_items_that_were_no_candidates_have_no_row_and_no_retrieval_score() -> None:
    made = MAKER.make(served(candidates=None, ranked=None))
    assert list(made.rows) == [-1, -1]
    assert all(math.isnan(score) for score in made.retrieval_scores)
    assert (made.candidates_found, made.candidates_hash, list(made.ranking_positions)) == (None, None, [0, 0])


def test_an_explored_item_has_its_place_in_the_ranking() -> None:
    answer = served(indices=(4, 3, 2, 1, 0), plan=Plan(exploration=Exploration(0.5)))
    shown = [answer.response.recommendations[place] for place in (0, 3)]
    made = MAKER.make(replace(answer, response=replace(answer.response, recommendations=shown)))
    assert list(made.ranking_positions) == [1, 4]


def test_items_of_rankers_that_predict_different_actions_have_all_of_them() -> None:
    made = MAKER.make(served(action_scores=[{"liked": 0.5}, {"read": 0.25, "liked": 0.125}]))
    assert list(made.actions) == ["liked", "read"]
    assert [str(score) for score in made.action_scores] == ["0.5", "nan", "0.125", "0.25"]


def test_an_empty_answer_says_what_is_missing() -> None:
    answer = served()
    empty = replace(answer.response, recommendations=(), shortfall=Shortfall(2, ShortfallReason.EXCLUDED))
    made = MAKER.make(replace(answer, response=empty))
    assert (list(made.item_ids), made.missing_count, made.missing_reason) == ([], 2, "EXCLUDED")
