from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset import Interactions
from training.sources.orders import LEAST_TRENDING_WEIGHT, arrival_rows, trending_rows

_DAY = 86_400
_START = 1_700_000_000


def _interactions(rows: list[int], days: list[float] | None) -> Interactions:
    count = len(rows)
    return Interactions(
        user_ids=["u"],
        recorded=("liked",),
        users=np.zeros(count, np.int32),
        rows=np.array(rows, np.int32),
        actions=np.zeros(count, np.int16),
        values=np.full(count, np.nan, np.float32),
        times=None if days is None else np.array([_START + int(day * _DAY) for day in days], np.int64),
    )


def test_a_recent_interaction_outweighs_three_that_are_two_half_lives_old() -> None:
    # Item 0: 3 x 0.25 = 0.75; item 1: 1; item 2: 2 x 0.5 = 1, and more often.
    taste = _interactions([0, 0, 0, 1, 2, 2], [0, 0, 0, 28, 14, 14])
    found = trending_rows(taste, 4, half_life_days=14)
    assert found is not None
    assert found.tolist() == [2, 1, 0]
    assert found.dtype == np.uint32


def test_items_that_nobody_acted_on_lately_are_not_trending() -> None:
    taste = _interactions([0, 1, 2], [0, 100 - 6 * 14, 100])
    found = trending_rows(taste, 3, half_life_days=14)
    assert found is not None
    # Item 1 weighs just 1/64, item 0 less.
    assert found.tolist() == [2, 1]
    assert LEAST_TRENDING_WEIGHT == 1 / 64


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 60)), max_size=40), st.sampled_from([1.0, 7.0, 30.0]))
def test_the_order_is_that_of_sums_computed_one_by_one(events: list[tuple[int, int]], half_life: float) -> None:
    rows, days = [row for row, _ in events], [float(day) for _, day in events]
    found = trending_rows(_interactions(rows, days), 8, half_life)
    sums = [0.0] * 8
    for row, day in events:
        sums[row] += 2.0 ** (-(max(days) - day) / half_life)
    assert found is not None
    assert set(found.tolist()) == {row for row in range(8) if sums[row] >= LEAST_TRENDING_WEIGHT}
    ordered = [sums[row] for row in found.tolist()]
    assert ordered == pytest.approx(sorted(ordered, reverse=True))


def test_arrivals_are_ordered_by_first_interaction_and_leave_out_what_nobody_acted_on() -> None:
    found = arrival_rows(_interactions([3, 1, 1, 0, 4], [5, 2, 9, 7, 5]), 6)
    assert found is not None
    assert found.tolist() == [0, 3, 4, 1]
    assert found.dtype == np.uint32


def test_without_times_nothing_is_trending_or_new() -> None:
    assert trending_rows(_interactions([0, 1], None), 2, 14) is None
    assert arrival_rows(_interactions([0, 1], None), 2) is None


def test_with_times_but_without_interactions_the_orders_are_empty() -> None:
    trending, arrivals = trending_rows(_interactions([], []), 3, 14), arrival_rows(_interactions([], []), 3)
    assert trending is not None
    assert arrivals is not None
    assert len(trending) == len(arrivals) == 0
