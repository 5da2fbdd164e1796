from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twostage.features.history import HISTORY_LENGTH, History, pack_history, pad_history

_NOW = 1_700_000_000
_VALUES = st.one_of(st.just(float("nan")), st.floats(0.5, 5, width=32))
_ENTRY = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 5), _VALUES, st.integers(0, _NOW + 86_400))


def _history(entries: list[tuple[int, int, float, int]]) -> History:
    rows, actions, values, times = zip(*entries, strict=True) if entries else ((), (), (), ())
    return History(
        np.array(rows, np.uint32), np.array(actions, np.int32), np.array(values, np.float32), np.array(times, np.int64)
    )


def test_rows_and_actions_stand_above_each_other_and_padding_is_no_item() -> None:
    history = _history([(7, 2, 4.5, _NOW - 86_400), (0, 1, float("nan"), 0)])
    codes, numbers = pack_history(history, _NOW)
    assert (codes.dtype.name, numbers.dtype.name) == ("int32", "float32")
    assert codes.tolist() == [[7, 0] + [-1] * 48, [2, 1] + [0] * 48]
    assert numbers.tolist() == [[4.5, 0] + [0] * 48, [1, 0] + [0] * 48]


def test_without_a_time_of_the_request_all_ages_are_unknown() -> None:
    _, numbers = pack_history(_history([(7, 2, 4.5, _NOW)]))
    assert not numbers[1].any()


@given(st.lists(_ENTRY, max_size=70), st.sampled_from([0, _NOW]))
def test_packed_histories_say_what_padded_ones_do(entries: list[tuple[int, int, float, int]], now: int) -> None:
    history = _history(entries)
    codes, numbers = pack_history(history, now)
    padded = pad_history(history, now)
    assert codes.shape == numbers.shape == (2, HISTORY_LENGTH)
    np.testing.assert_array_equal(codes[:1] >= 0, padded.mask > 0)
    np.testing.assert_array_equal(np.maximum(codes[:1], 0), padded.rows)
    np.testing.assert_array_equal(codes[1:], padded.actions)
    np.testing.assert_array_equal(numbers, np.concatenate([padded.values, padded.ages_days]))
