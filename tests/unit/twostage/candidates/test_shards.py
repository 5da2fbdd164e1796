from __future__ import annotations

import numpy as np
import pytest

from twostage.candidates.shards import complete, is_short, merge_answers
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList


def listed(source: Source, rows: list[int], *, searched: bool, group: int = 0, wanted_count: int = 3) -> SourceList:
    """A list whose keys descend by row."""
    array = np.array(rows, np.uint32)
    keys = -array.astype(np.float32) if searched else None
    return SourceList(source, array, np.zeros(len(array), np.float32), wanted_count, keys, group=group)


def near(rows: list[int], group: int = 0) -> SourceList:
    return listed(Source.NEIGHBOURS, rows, searched=True, group=group)


def test_searched_lists_are_merged_and_shared_ones_kept_in_the_order_of_who_knows_all() -> None:
    popular = listed(Source.POPULAR, [9, 1], searched=False)
    user = [listed(Source.USER_VECTOR, rows, searched=True) for rows in ([8, 2], [3, 5])]
    answers = [[near([4]), near([6], 1), user[0]], [near([0]), near([7], 1), popular, user[1]]]
    merged = merge_answers(answers)
    assert [(entry.source, entry.group, entry.rows.tolist()) for entry in merged] == [
        (Source.NEIGHBOURS, 0, [0, 4]),
        (Source.NEIGHBOURS, 1, [6, 7]),
        (Source.POPULAR, 0, [9, 1]),
        (Source.USER_VECTOR, 0, [2, 3, 5]),
    ]


@pytest.mark.parametrize(
    ("entry", "allowed_count", "short"),
    [
        (near([1, 2, 3]), 9, False),
        (near([1, 2]), 9, True),
        (near([1, 2]), 2, False),
        (near([]), 1, True),
        (near([]), 0, False),
        (listed(Source.POPULAR, [1], searched=False), 9, False),
        (listed(Source.INTEREST_TAGS, [1], searched=False), 9, False),
        (listed(Source.INTEREST_TAGS, [1], searched=True), 9, True),
        (listed(Source.INTEREST_TAGS, [], searched=False), 9, True),
    ],
)
def test_only_a_search_that_found_too_few_is_short(entry: SourceList, allowed_count: int, short: bool) -> None:
    assert is_short(entry, allowed_count) is short


def test_an_exhaustive_round_takes_the_place_of_what_was_short_alone() -> None:
    full, short = near([1, 5, 6]), near([2], 1)
    popular = listed(Source.POPULAR, [9], searched=False)
    exhaustive = [near([1, 2, 3]), near([2, 3, 4], 1)]
    completed = complete([full, short, popular], exhaustive, 9)
    assert [entry.rows.tolist() for entry in completed] == [[1, 5, 6], [2, 3, 4], [9]]
