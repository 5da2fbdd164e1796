from __future__ import annotations

import numpy as np

from retrieval_service.engine.row_selector import RowSelector


def test_bits_say_the_same_as_the_mask_for_every_row() -> None:
    mask = np.random.default_rng(0).random(21) < 0.5
    bits = RowSelector(mask).bits
    assert [bool(bits[row // 8] >> (row % 8) & 1) for row in range(21)] == mask.tolist()
    assert int(bits[2]) >> 5 == 0, "rows past the end must not be allowed"


def test_excluding_counts_repeated_rows_once() -> None:
    selector = RowSelector.excluding(np.array([3, 3, 9], np.uint32), 10)
    assert selector.allowed_count == 8
    assert np.flatnonzero(~selector.mask).tolist() == [3, 9]


def test_excluding_narrows_a_given_mask() -> None:
    mask = np.array([True, False, True, True])
    assert np.flatnonzero(RowSelector.excluding(np.array([2]), 4, mask).mask).tolist() == [0, 3]


def test_keep_keeps_the_order_asked_for() -> None:
    selector = RowSelector.excluding(np.array([1]), 4)
    assert selector.keep(np.array([3, 1, 0], np.uint32)).tolist() == [3, 0]
