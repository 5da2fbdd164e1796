from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.popular import pick_popular
from twostage.bundle.row_set import RowSet


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[int], list[int], list[bool], set[int], int]:
    count = draw(st.integers(1, 3_000))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    order = generator.permutation(count).tolist()
    excluded = generator.choice(count, int(count * draw(st.floats(0, 1))), replace=False).tolist()
    allowed = (generator.random(count) < draw(st.floats(0, 1))).tolist()
    refused = set(generator.choice(count, int(count * draw(st.floats(0, 0.5))), replace=False).tolist())
    return order, excluded, allowed, refused, draw(st.integers(1, 200))


@given(situations())
def test_exactly_the_first_allowed_rows_are_picked(
    situation: tuple[list[int], list[int], list[bool], set[int], int],
) -> None:
    order, excluded, allowed, refused, count = situation
    gone = set(excluded)
    passing = [row for row in order if row not in gone and allowed[row]]
    expected = [row for row in passing if row not in refused][:count]

    picked = pick_popular(
        np.array(order, np.uint32),
        count,
        excluded_rows=excluded,
        allowed=RowSet.of_mask(np.array(allowed)),
        admit=lambda row: row not in refused,
    )

    assert picked.rows.tolist() == expected
    if len(expected) < count:
        assert picked.refused_count == len(passing) - len(expected)


@given(situations())
def test_without_filter_and_caps_only_exclusions_count(
    situation: tuple[list[int], list[int], list[bool], set[int], int],
) -> None:
    order, excluded, _, _, count = situation
    gone = set(excluded)
    picked = pick_popular(np.array(order, np.uint32), count, excluded_rows=excluded)
    assert picked.rows.tolist() == [row for row in order if row not in gone][:count]
