from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twostage.bundle.filter_cache import FilterCache
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.row_set import RowSet

ITEM_COUNT = 6_400


def filter_of(number: int) -> Filter:
    return Filter((Condition("number", minimum=number, maximum=number),))


def set_of(number: int) -> RowSet:
    return RowSet.of_ascending(np.array([number], np.uint32), ITEM_COUNT)


class Evaluation:
    """Counts how often a filter was evaluated."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, condition_filter: Filter) -> RowSet:
        number = condition_filter.conditions[0].minimum
        assert number is not None
        self.asked.append(int(number))
        return set_of(int(number))


def test_an_equal_filter_is_not_evaluated_again() -> None:
    cache, evaluate = FilterCache(1 << 20), Evaluation()
    first = cache.rows(filter_of(3), evaluate)
    assert cache.rows(filter_of(3), evaluate) is first
    assert evaluate.asked == [3]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 6))
def test_the_least_recently_used_goes_first(numbers: list[int], room: int) -> None:
    one = FilterCache(1 << 20)
    one.rows(filter_of(0), set_of_first)
    cache, evaluate = FilterCache(room * one.held_bytes), Evaluation()
    recent: list[int] = []
    expected: list[int] = []
    for number in numbers:
        assert cache.rows(filter_of(number), evaluate).rows.tolist() == [number]
        if number in recent:
            recent.remove(number)
        else:
            expected.append(number)
        recent = [*recent, number][-room:] if room else []
        assert len(cache) == len(recent)
        assert cache.held_bytes == len(recent) * one.held_bytes <= room * one.held_bytes
    assert evaluate.asked == expected


def set_of_first(_: Filter) -> RowSet:
    return set_of(0)


def test_sets_and_filters_that_are_too_large_are_not_kept() -> None:
    cache, evaluate = FilterCache(500), Evaluation()
    cache.rows(filter_of(1), evaluate)
    cache.rows(filter_of(1), evaluate)
    assert (evaluate.asked, len(cache), cache.held_bytes) == ([1, 1], 0, 0)
    cache = FilterCache(ITEM_COUNT // 8 + 1_000)
    wordy = Filter((Condition("tags", any_of=tuple(f"a long value {number}" for number in range(100))),))
    cache.rows(wordy, set_of_first)
    assert len(cache) == 0


def test_what_fails_is_not_kept() -> None:
    cache = FilterCache(1 << 20)

    def fail(_: Filter) -> RowSet:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            cache.rows(filter_of(1), fail)
    assert len(cache) == 0


def test_threads_share_a_cache_within_its_bound() -> None:
    cache = FilterCache(5_000)

    def ask(seed: int) -> bool:
        numbers = np.random.default_rng(seed).integers(0, 12, 400).tolist()
        return all(
            cache.rows(filter_of(number), Evaluation()).rows.tolist() == [number] and cache.held_bytes <= 5_000 + 1_400
            for number in numbers
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert 0 < cache.held_bytes <= 5_000


def test_who_watches_is_told_of_each_look_up_whether_it_was_held() -> None:
    cache, evaluate = FilterCache(1 << 20), Evaluation()
    told: list[bool] = []
    cache.on_lookup = told.append
    for number in (3, 3, 4, 3):
        assert cache.rows(filter_of(number), evaluate).rows.tolist() == [number]
    assert told == [False, True, False, True]
