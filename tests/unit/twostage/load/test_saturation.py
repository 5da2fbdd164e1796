from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostage.load.saturation import KEPT_UP_SHARE, find_saturation


@pytest.mark.parametrize("capacity", [3.0, 20.0, 150.0, 4000.0])
def test_it_finds_what_a_server_of_known_capacity_keeps_up_with(capacity: float) -> None:
    found = find_saturation(lambda rate: min(rate, capacity), first_rate=20)
    # At 1.05 times the capacity 95 % are answered still; the search ends within a tenth.
    assert capacity / 1.1 < found.rate <= capacity / KEPT_UP_SHARE
    assert found.peak_goodput == pytest.approx(capacity, rel=0.1)
    assert found.bounded
    assert len(found.steps) < 20


def test_a_server_that_collapses_above_its_capacity_is_found_too() -> None:
    found = find_saturation(lambda rate: rate if rate <= 100 else 5.0)
    assert 90 < found.rate <= 100
    assert found.peak_goodput == found.rate


def test_a_server_that_answers_nothing_has_no_rate() -> None:
    found = find_saturation(lambda _: 0.0)
    assert (found.rate, found.peak_goodput) == (0.0, 0.0)
    assert len(found.steps) < 24


def test_the_highest_rate_allowed_is_not_exceeded() -> None:
    found = find_saturation(lambda rate: rate, first_rate=20, max_rate=100)
    assert max(rate for rate, _ in found.steps) == found.rate == 100
    assert not found.bounded


@given(st.floats(0.5, 10_000), st.floats(0.5, 500), st.floats(0, 1))
def test_what_is_found_was_measured_and_kept_up_with(capacity: float, first_rate: float, collapse: float) -> None:
    found = find_saturation(lambda rate: rate if rate <= capacity else capacity * collapse, first_rate=first_rate)
    kept_up = [rate for rate, goodput in found.steps if goodput >= KEPT_UP_SHARE * rate]
    assert found.rate == max(kept_up, default=0.0)
    assert found.peak_goodput == max(goodput for _, goodput in found.steps)
