from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.engine.interleave import team_draft
from training.experiments.arms import compare_arms, compare_rivals
from training.experiments.sample import ExploredItems, Hits, Sample

NO_ITEMS = ExploredItems(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_), np.zeros(0))


def sample(
    people: NDArray[np.int64],
    arms: NDArray[np.str_],
    hits: list[tuple[int, str]],
    rivals: dict[str, tuple[str, str]] | None = None,
) -> Sample:
    """Answers of one experiment ``e`` and clicks as (answer, team)."""
    answers = np.array([each[0] for each in hits], np.int64)
    teams = np.array([each[1] for each in hits], np.str_)
    clicked = Hits(answers, np.full(len(hits), "clicked"), np.zeros(len(hits), np.int64), teams)
    return Sample(people, int(people.max()) + 1, 0, {"e": arms}, rivals or {}, clicked, NO_ITEMS, 0)


def test_arms_are_counted_and_compared_to_the_first() -> None:
    people = np.arange(400) // 2
    arms = np.where(people % 2 == 0, "control", "new")
    hits = [(answer, "") for answer in range(400) if answer % (5 if arms[answer] == "new" else 10) == 0]
    control, new = compare_arms(sample(people, arms, hits), "e", "clicked", ["control", "new"])
    clicked = {arm: sum(arms[answer] == arm for answer, _ in hits) for arm in ("control", "new")}
    assert (control.people_count, control.answer_count, control.action_count) == (100, 200, clicked["control"])
    assert control.rate.value == clicked["control"] / 200
    assert control.difference is None
    assert new.difference is not None
    assert new.difference.value == pytest.approx((clicked["new"] - clicked["control"]) / 200)


def test_an_arm_nobody_was_in_has_no_rate() -> None:
    people = np.arange(100)
    gone, there = compare_arms(sample(people, np.full(100, "b"), [(3, "")]), "e", "clicked", ["a", "b"])
    assert (gone.people_count, gone.rate.interval()) == (0, None)
    assert there.difference is not None
    assert there.difference.interval() is None


def test_wins_losses_and_ties_are_counted_by_answer() -> None:
    hits = [(0, "new"), (1, "old"), (1, "old"), (1, "new"), (2, "new"), (2, "old"), (3, ""), (4, "new"), (4, "new")]
    drawn = sample(np.arange(6), np.full(6, "interleaved"), hits, {"e": ("old", "new")})
    result = compare_rivals(drawn, "e", "clicked")
    assert (result.rival, result.arm, result.answer_count) == ("old", "new", 6)
    assert (result.win_count, result.loss_count, result.tie_count) == (2, 1, 1)
    assert result.share.value == pytest.approx((2 + 0.5) / 4)


def drafted(rng: np.random.Generator, a: list[int], b: list[int], liking: dict[int, float]) -> Sample:
    """People who click an item of a team draft with a probability of their own, in 2,000 answers."""
    hits = []
    for answer in range(2_000):
        hits += [
            (answer, ("old", "new")[each.team])
            for each in team_draft(a, b, 10, f"{rng.integers(1 << 60)}")
            if rng.random() < liking.get(each.item, 0.0)
        ]
    return sample(np.arange(2_000) // 2, np.full(2_000, "interleaved"), hits, {"e": ("old", "new")})


def test_a_ranking_that_puts_first_what_people_like_wins_and_equal_ones_draw() -> None:
    rng = np.random.default_rng(8)
    liking = {1: 0.1, 2: 0.05, 3: 0.05}
    good, bad = [1, 2, 3, *range(10, 20)], [*range(10, 20), 1, 2, 3]
    better = compare_rivals(drafted(rng, bad, good, liking), "e", "clicked").share.interval()
    assert better is not None
    assert better.low > 0.5
    assert better.low > 0.9
    # The same items in another order, so that neither is better where people look at all.
    same = compare_rivals(drafted(rng, [1, 2, 3], [3, 1, 2], dict.fromkeys((1, 2, 3), 0.1)), "e", "clicked")
    interval = same.share.interval()
    assert interval is not None
    assert 0.5 in interval
