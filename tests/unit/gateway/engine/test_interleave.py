from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.interleave import Drafted, team_draft

rankings = st.lists(st.integers(0, 20), unique=True, max_size=15)


def reference(a: str, b: str, coins: list[int]) -> list[tuple[str, int]]:
    """Algorithm 2 of Radlinski, Kurup and Joachims (2008) as printed, with given coins."""
    answer: list[str] = []
    teams: tuple[set[str], set[str]] = (set(), set())
    while any(item not in answer for item in a) and any(item not in answer for item in b):
        smaller = len(teams[0]) < len(teams[1])
        if smaller or (len(teams[0]) == len(teams[1]) and coins.pop(0) == 1):
            item, team = next(item for item in a if item not in answer), 0
        else:
            item, team = next(item for item in b if item not in answer), 1
        answer.append(item)
        teams[team].add(item)
    return [(item, 0 if item in teams[0] else 1) for item in answer]


@given(rankings, rankings, st.integers(0, 30), st.text())
def test_the_answer_has_every_item_once_and_fair_teams(a: list[int], b: list[int], count: int, seed: str) -> None:
    drafted = team_draft(a, b, count, seed)
    items = [each.item for each in drafted]
    assert len(items) == len(set(items)) == min(count, len(set(a) | set(b)))
    sizes = [0, 0]
    for place, each in enumerate(drafted):
        assert each.item in (a, b)[each.team]
        assert each.propensity in (0.5, 1.0)
        above = set(items[:place])
        other_is_used_up = not set((a, b)[1 - each.team]) - above
        sizes[each.team] += 1
        assert abs(sizes[0] - sizes[1]) <= 1 or other_is_used_up
        # The best that its ranking had left.
        assert each.item == next(item for item in (a, b)[each.team] if item not in above)
    assert drafted == team_draft(a, b, count, seed)


def test_every_answer_is_one_of_the_paper_s_and_all_are_as_likely_as_its_coins() -> None:
    a, b, trials = "abcd", "bdae", 20_000
    expected: Counter[tuple[tuple[str, int], ...]] = Counter()
    for bits in range(8):
        expected[tuple(reference(a, b, [bits >> place & 1 for place in range(3)]))[:4]] += 1
    seen: Counter[tuple[tuple[str, int], ...]] = Counter()
    for trial in range(trials):
        drafted = team_draft(a, b, 4, f"request-{trial}")
        seen[tuple((each.item, each.team) for each in drafted)] += 1
    assert seen.keys() == expected.keys()
    for answer, count in expected.items():
        chance = count / 8
        assert seen[answer] / trials == pytest.approx(chance, abs=4.5 * math.sqrt(chance * (1 - chance) / trials))


def test_rankings_that_agree_are_shown_with_certainty_and_the_teams_are_thrown_for() -> None:
    drafts = [team_draft("abcd", "abcd", 4, str(trial)) for trial in range(2000)]
    for drafted in drafts:
        assert [each.item for each in drafted] == list("abcd")
        assert [each.propensity for each in drafted] == [1.0] * 4
        assert sorted(each.team for each in drafted[:2]) == [0, 1]
    assert sum(drafted[0].team for drafted in drafts) == pytest.approx(1000, abs=100)


def test_a_used_up_ranking_leaves_the_rest_to_the_other() -> None:
    drafted = team_draft("a", "bcd", 9, "s")
    assert sorted(drafted[:2]) == [Drafted("a", 0, drafted[0].propensity if drafted[0].item == "a" else 1.0)] + [
        each for each in drafted[:2] if each.item == "b"
    ]
    assert [(each.item, each.team, each.propensity) for each in drafted[2:]] == [("c", 1, 1.0), ("d", 1, 1.0)]
    assert team_draft("", "", 3, "s") == []


def test_teams_are_as_often_first_in_long_answers_as_not() -> None:
    a, b = list(range(200)), list(range(200, 400))
    drafted = [team_draft(a, b, 200, str(trial)) for trial in range(50)]
    firsts = sum(draft[place].team for draft in drafted for place in range(0, 200, 2))
    assert firsts == pytest.approx(2500, abs=160)
