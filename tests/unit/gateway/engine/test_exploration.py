from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.exploration import Shown, explorable_count, explore
from gateway.engine.plan import Exploration

policies = st.builds(
    Exploration,
    epsilon=st.floats(0, 1),
    share=st.floats(0, 1),
    pool_count=st.integers(0, 30),
)


@given(policies, st.integers(0, 60), st.integers(1, 30), st.text(), st.integers(0, 35))
def test_no_more_positions_are_explored_than_the_share_allows_and_none_before_the_end(
    policy: Exploration, ranked_count: int, count: int, seed: str, pinned_count: int
) -> None:
    ranked = list(range(ranked_count))
    shown = explore(ranked, count, policy, seed, pinned_count=pinned_count)
    assert len(shown) == min(count, ranked_count)
    assert len({each.item for each in shown}) == len(shown)
    first = count - math.ceil(round(policy.share * count, 6))
    for position, each in enumerate(shown):
        assert 0 < each.propensity <= 1
        if position < max(first, min(pinned_count, count)):
            assert each == Shown(position, 1.0, False)
        assert each.explored == (each.item >= count)
        assert each.item < count + policy.pool_count
    greedy = [each.item for each in shown if not each.explored]
    # The best come first, none is left out between two.
    assert greedy == list(range(len(greedy)))
    assert all(a.item < b.item for a, b in pairwise([each for each in shown if not each.explored]))


@given(policies, st.text())
def test_the_same_seed_shows_the_same(policy: Exploration, seed: str) -> None:
    assert explore(range(50), 10, policy, seed) == explore(range(50), 10, policy, seed)


def test_the_share_is_rounded_up_and_floating_point_does_not_add_a_position() -> None:
    assert [explorable_count(count, 0.2) for count in (1, 5, 6, 20)] == [1, 1, 2, 4]
    assert explorable_count(100, 0.07) == 7
    assert explorable_count(30, 0.1) == 3
    assert explorable_count(10, 0.0) == 0
    assert explorable_count(10, 1.0) == 10


def test_without_epsilon_or_without_a_pool_the_ranking_is_shown_as_it_is() -> None:
    as_it_is = [Shown(item, 1.0, False) for item in range(5)]
    assert explore(range(50), 5, Exploration(0.0, 1.0, 20), "s") == as_it_is
    assert explore(range(5), 5, Exploration(1.0, 1.0, 20), "s") == as_it_is
    assert explore(range(50), 5, Exploration(1.0, 1.0, 0), "s") == as_it_is


def test_where_chance_has_used_up_the_pool_the_greedy_item_is_certain() -> None:
    shown = explore("abcdxy", 4, Exploration(1.0, 1.0, 2), "s")
    assert sorted(each.item for each in shown[:2]) == ["x", "y"]
    assert [each.propensity for each in shown] == [0.5, 1.0, 1.0, 1.0]
    assert [each.item for each in shown[2:]] == ["a", "b"]


def every_answer(
    head: str, pool: str, epsilon: float, chosen: str = "", chance: float = 1.0
) -> Iterator[tuple[str, float]]:
    """All answers of two explorable positions and their probabilities, by going through all draws."""
    if len(chosen) == 2:
        yield chosen, chance
        return
    greedy = next(item for item in head if item not in chosen)
    left = [item for item in pool if item not in chosen]
    yield from every_answer(head, pool, epsilon, chosen + greedy, chance * (1 - epsilon))
    for item in left:
        yield from every_answer(head, pool, epsilon, chosen + item, chance * epsilon / len(left))


def test_answers_come_as_often_as_enumeration_says_and_their_propensities_multiply_to_it() -> None:
    epsilon, trials = 0.4, 40_000
    expected = dict(every_answer("ab", "xyz", epsilon))
    assert sum(expected.values()) == pytest.approx(1)
    seen: Counter[str] = Counter()
    for trial in range(trials):
        shown = explore("pabxyz", 3, Exploration(epsilon, 0.6, 3), f"request-{trial}")
        answer = "".join(each.item for each in shown[1:])
        assert math.prod(each.propensity for each in shown) == pytest.approx(expected[answer])
        seen[answer] += 1
    for answer, chance in expected.items():
        # 4.5 standard errors: one false alarm in some 10,000 seeds, and the seeds are fixed.
        assert seen[answer] / trials == pytest.approx(chance, abs=4.5 * math.sqrt(chance * (1 - chance) / trials))


def test_the_weights_of_two_positions_are_independent() -> None:
    answers = [explore("abxyz", 2, Exploration(0.5, 1.0, 3), str(trial)) for trial in range(20_000)]
    both = sum(first.explored and second.explored for first, second in answers) / len(answers)
    assert both == pytest.approx(0.25, abs=0.015)
