from __future__ import annotations

import math

import pytest

from gateway.engine.response import Recommendation, Shortfall, ShortfallReason
from training.replay.remade import Remade
from training.replay.verdict import Verdict, judge
from twostage.impressions.impression import Impression

LOGGED = Impression(
    "r",
    0,
    ranker="content",
    asked_count=3,
    item_ids=("a", "b", "c"),
    scores=(0.9, 0.5, 0.2),
    propensities=(1.0, 0.5, 1.0),
    teams=("", "x", ""),
    actions=("liked", "read"),
    action_scores=(0.9, 0.1, 0.5, 0.2, 0.2, math.nan),
)


def made(
    items: str = "abc",
    scores: tuple[float, ...] = (0.9, 0.5, 0.2),
    *,
    liked: float = 0.9,
    propensity: float = 0.5,
    team: str = "x",
    shortfall: Shortfall | None = None,
    ranker: str = "content",
    found: str = "",
) -> Remade:
    by_item = {"a": {"liked": liked, "read": 0.1}, "b": {"liked": 0.5, "read": 0.2}, "c": {"liked": 0.2}}
    recommendations = [
        Recommendation(
            item,
            score,
            action_scores=by_item.get(item, {}),
            propensity=propensity if place == 1 else 1.0,
            team=team if place == 1 else "",
        )
        for place, (item, score) in enumerate(zip(items, scores, strict=True))
    ]
    return Remade((recommendations, shortfall), ranker, found)


def test_the_same_answer_is_the_same() -> None:
    judgement = judge(LOGGED, made())
    assert (judgement.verdict, judgement.reasons, judgement.largest_difference) == (Verdict.SAME, (), 0.0)


def test_scores_within_the_epsilon_are_the_same_and_told() -> None:
    judgement = judge(LOGGED, made(scores=(0.9, 0.5 + 1e-6, 0.2)))
    assert judgement.verdict is Verdict.SAME
    assert judgement.largest_difference == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("remade", "reason"),
    [
        (made("bac", (0.9, 0.5, 0.2)), "ranking: at position 1 b (0.9) instead of a (0.9)"),
        (made("abd", (0.9, 0.5, 0.1)), "ranking: at position 3 d (0.1) instead of c (0.2)"),
        (made("ab", (0.9, 0.5)), "answer: 2 items instead of 3"),
        (made(scores=(0.9, 0.5, 0.201)), "scores: the score of c at position 3 differs by 0.001"),
        (made(liked=0.7), "scores: the probability of liked of a at position 1 differs by 0.2"),
        (made(propensity=0.25), "exploration: propensity 0.25 instead of 0.5 at position 2"),
        (made(team="y"), "interleaving: team y instead of x at position 2"),
        (made(ranker="other"), "ranking: by other instead of content"),
        (
            made(shortfall=Shortfall(1, ShortfallReason.EXCLUDED)),
            "shortfall: 1 missing (EXCLUDED) instead of nothing missing",
        ),
    ],
)
def test_what_differs_is_said_with_its_stage(remade: Remade, reason: str) -> None:
    judgement = judge(LOGGED, remade)
    assert judgement.verdict is Verdict.DIFFERENT
    assert reason in judgement.reasons


def test_items_that_are_near_ties_may_change_places() -> None:
    logged = LOGGED._replace(scores=(0.5, 0.5 - 1e-7, 0.2), action_scores=(), actions=())
    judgement = judge(logged, made("bac", (0.5, 0.5 - 1e-7, 0.2)))
    assert (judgement.verdict, judgement.reasons) == (Verdict.NEARLY, ())


def test_an_item_as_good_as_the_last_may_stand_in_its_place() -> None:
    # Which of the two stood just below the last place nobody can tell.
    assert judge(LOGGED, made("abd")).verdict is Verdict.NEARLY


@pytest.mark.parametrize("rung", ["POPULAR", "CACHED"])
def test_what_is_counted_and_not_computed_has_no_near_ties(rung: str) -> None:
    logged = LOGGED._replace(rung=rung, ranker="", scores=(3.0, 3.0, 1.0), action_scores=(), actions=())
    assert judge(logged, made("bac", (3.0, 3.0, 1.0), ranker="")).verdict is Verdict.DIFFERENT


def test_other_candidates_that_lead_to_the_same_answer_are_told_and_no_difference() -> None:
    judgement = judge(LOGGED, made(found="59 candidates instead of 60"))
    assert (judgement.verdict, judgement.reasons) == (Verdict.SAME, ("retrieval: 59 candidates instead of 60",))


def test_an_action_that_is_no_longer_predicted_differs() -> None:
    judgement = judge(LOGGED._replace(actions=("liked", "gone")), made())
    assert judgement.verdict is Verdict.DIFFERENT
    assert judgement.reasons == ("scores: the probability of gone of a at position 1 differs by inf",)
